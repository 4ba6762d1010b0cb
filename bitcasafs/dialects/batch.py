"""`POST /batch`: frames of operations and their content, written by the client and read as they arrive by the server.

A frame is one line of JSON and LF; with `"size": n`, n bytes of content and LF follow (portal protocol 2.2). The
reader is sans-IO: bytes in, events out, and never more in memory than one header line. Who gathers the operations holds
no more than HEADERS_LIMIT_BYTES of lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitcasafs.dialects.discovery import BatchLimits
from bitcasafs.dialects.fields import JsonObject, json_bytes, optional_integer, parse_object, refusing
from bitcasafs.dialects.operations import (
    decode_fields,
    decode_target,
    encode_fields,
    encode_target,
    node_address,
    operation_digest,
)
from bitcasafs.dialects.outcomes import (
    OutcomeLine,
    OutcomeReader,
    decode_outcome,
    decode_outcomes,
    encode_outcome,
)
from bitcasafs.errors import BitcasaError, Malformed, TooLarge, Truncated
from bitcasafs.values.operations import (
    Delete,
    Made,
    Mkdir,
    Move,
    Operation,
    Put,
    SetAttributes,
    Symlink,
)

__all__ = [
    "CONTENT_END",
    "HEADERS_LIMIT_BYTES",
    "HEADER_LIMIT_BYTES",
    "MEDIA_TYPE",
    "PATH",
    "BatchReader",
    "Content",
    "ContentEnd",
    "Event",
    "OperationRefused",
    "OperationStarted",
    "OutcomeLine",
    "OutcomeReader",
    "decode_outcome",
    "decode_outcomes",
    "decode_target",
    "encode_operation",
    "encode_outcome",
    "encode_target",
    "frame_bytes",
    "node_address",
    "operation_digest",
    "references",
]

PATH = "/batch"
MEDIA_TYPE = "application/vnd.bitcasa.batch"
HEADER_LIMIT_BYTES = 128 * 1024
"""Of one header line without its LF. 64 KiB would be too few: one extended attribute of 64 KiB is 87,384 characters of
base64."""
HEADERS_LIMIT_BYTES = 4 * 1024 * 1024
"""Of all header lines of a batch without their LFs: unlike content they stay in the portal's memory until all came."""
CONTENT_END = b"\n"
"""What the client writes after the content of a Put."""


@dataclass(frozen=True, slots=True)
class OperationStarted:
    """The header of an operation came. For a Put: Content (none when empty), then ContentEnd follow."""

    index: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class OperationRefused:
    """The frame is whole, what it says cannot be done; its content is skipped unseen. The batch goes on."""

    index: int
    error: BitcasaError


@dataclass(frozen=True, slots=True)
class Content:
    """The next bytes of the Put that started last."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """The Put that started last has all its bytes, as many as it announced."""

    index: int


Event = OperationStarted | OperationRefused | Content | ContentEnd


def encode_operation(operation: Operation) -> bytes:
    """The header line with its LF. After that of a Put come `size_bytes` bytes of content and CONTENT_END.

    TooLarge when the line is longer than a portal takes: split the change of attributes.
    """
    line = json_bytes(encode_fields(operation))
    if len(line) > HEADER_LIMIT_BYTES:
        raise TooLarge(f"an operation has at most {HEADER_LIMIT_BYTES} bytes without its content, this one {len(line)}")
    return line + b"\n"


def frame_bytes(operation: Operation) -> int:
    """Size of the whole frame, content included: what counts towards the batch's `bytes`."""
    content = operation.size_bytes + len(CONTENT_END) if isinstance(operation, Put) else 0
    return len(encode_operation(operation)) + content


def references(operation: Operation) -> frozenset[int]:
    """The operations of the same batch that this one names: when one of them failed, it fails with 424."""
    if isinstance(operation, Mkdir | Put | Symlink):
        targets: tuple[object, ...] = (operation.parent,)
    elif isinstance(operation, Move):
        targets = (operation.target, operation.parent)
    else:
        assert isinstance(operation, SetAttributes | Delete)
        targets = (operation.target,)
    return frozenset(target.op for target in targets if isinstance(target, Made))


class BatchReader:
    """Frames as they arrive. `feed` raises Malformed or TooLarge for a body that cannot be followed any further: then
    the whole request is refused, and nothing of it may have been applied."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._line = bytearray()
        self._headers_bytes = 0
        self._next = 0
        self._received = 0
        self._content_left: int | None = None
        """None: in a header line. 0: the LF after the content is due."""
        self._wanted = False
        """Whether the content is handed on (False: that of a refused operation)."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events in `data`; a generator, to be run to its end before the next call."""
        self._received += len(data)
        if self._received > self._limits.bytes:
            raise TooLarge(f"a batch has at most {self._limits.bytes} bytes")
        position = 0
        while position < len(data):
            if self._content_left is None:
                end = data.find(b"\n", position)
                self._line += data[position : end if end >= 0 else len(data)]
                if len(self._line) > HEADER_LIMIT_BYTES:
                    raise TooLarge(f"a line of a batch has at most {HEADER_LIMIT_BYTES} bytes")
                if end < 0:
                    return
                position = end + 1
                yield from self._header()
            elif self._content_left > 0:
                piece = data[position : position + self._content_left]
                position += len(piece)
                self._content_left -= len(piece)
                if self._wanted:
                    yield Content(piece)
            else:
                if data[position : position + 1] != CONTENT_END:
                    raise Malformed(f"operation {self._next - 1}: its content is longer than its size")
                position += 1
                self._content_left = None
                if self._wanted:
                    yield ContentEnd(self._next - 1)

    def finish(self) -> int:
        """At the end of the body: the number of operations. Truncated when it ended inside a frame."""
        if self._line or self._content_left is not None:
            raise Truncated("the batch ended in the middle of an operation", applied=False)
        return self._next

    def _header(self) -> Iterator[Event]:
        self._headers_bytes += len(self._line)
        if self._headers_bytes > HEADERS_LIMIT_BYTES:
            raise TooLarge(f"the lines of a batch have at most {HEADERS_LIMIT_BYTES} bytes, contents not counted")
        line = bytes(self._line).rstrip(b"\r")
        self._line.clear()
        index = self._next
        if index >= self._limits.operations:
            raise TooLarge(f"a batch has at most {self._limits.operations} operations")
        with refusing():
            fields = parse_object(line, f"operation {index}")
            size = optional_integer(fields, "size", f"operation {index}", minimum=0)
        self._next += 1
        self._content_left = size
        try:
            operation = self._operation(index, fields)
        except BitcasaError as error:
            self._wanted = False
            yield OperationRefused(index, error)
            return
        self._wanted = True
        yield OperationStarted(index, operation)

    def _operation(self, index: int, fields: JsonObject) -> Operation:
        operation = decode_fields(fields)
        if not isinstance(operation, Put):
            if fields.get("size") is not None:
                raise Malformed("only a put has content")
        elif operation.size_bytes > self._limits.content:
            raise TooLarge(f"the content of a put in a batch has at most {self._limits.content} bytes")
        if any(named >= index for named in references(operation)):
            raise Malformed("an operation names only those before it")
        return operation
