"""The lines that answer a batch, both ways: one JSON object an operation, in order (portal protocol 2.2).

`{"i": 0, "status": 201, "item": {...}, "cursor": "..."}`: 201 made something new, 200 is any other success; after a
delete there is no item. `{"i": 1, "status": 412, "error": {...}, "item": {...}}`: the item is the present one, where
the portal tells it. `"replay": true`: the first answer, given again to a repeated key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitcasafs.dialects.fields import JsonObject, boolean, integer, json_bytes, optional_text, parse_object
from bitcasafs.dialects.items import decode_item, encode_item
from bitcasafs.dialects.refusals import describe_error, read_error
from bitcasafs.errors import BitcasaError, ProtocolError, Truncated
from bitcasafs.values.items import Cursor, Item

MEDIA_TYPE = "application/x-ndjson"
LINE_LIMIT_BYTES = 1024 * 1024
"""An item with all its attributes is at most about 150 KiB; a longer line is not an outcome."""


@dataclass(frozen=True, slots=True)
class OutcomeLine:
    """What became of operation `index`: `item` after it, or `error` and perhaps `current`, the present item."""

    index: int
    status: int
    item: Item | None = None
    error: BitcasaError | None = None
    current: Item | None = None
    cursor: Cursor | None = None
    replayed: bool = False


def encode_outcome(
    index: int,
    status: int = 200,
    item: Item | None = None,
    error: BitcasaError | None = None,
    current: Item | None = None,
    cursor: Cursor | None = None,
    *,
    replayed: bool = False,
) -> bytes:
    """The line with its LF. With an error the status is the error's own, whatever `status` says."""
    fields: dict[str, Any] = {"i": index, "status": status}
    shown = item
    if error is not None:
        fields["status"], fields["error"] = describe_error(error)
        shown = current
    if shown is not None:
        fields["item"] = encode_item(shown, extensions=True)
    if cursor is not None:
        fields["cursor"] = cursor
    if replayed:
        fields["replay"] = True
    return json_bytes(fields) + b"\n"


def decode_outcome(line: bytes) -> OutcomeLine:
    """One line. ProtocolError."""
    what = "outcome"
    fields = parse_object(line, what)
    status = integer(fields, "status", what, minimum=200, maximum=599)
    item = decode_item(fields["item"], f"{what}: item") if fields.get("item") is not None else None
    cursor = optional_text(fields, "cursor", what)
    succeeded = status < 300
    return OutcomeLine(
        index=integer(fields, "i", what, minimum=0),
        status=status,
        item=item if succeeded else None,
        error=None if succeeded else read_error(status, _error_fields(fields)),
        current=None if succeeded else item,
        cursor=None if cursor is None else Cursor(cursor),
        replayed=boolean(fields, "replay", what, False),
    )


def _error_fields(fields: JsonObject) -> JsonObject:
    error = fields.get("error")
    return error if isinstance(error, dict) else {}


class OutcomeReader:
    """Lines as they arrive. The indexes must count up from 0: an answer given to the wrong operation would be a wrong
    success."""

    def __init__(self, operations: int) -> None:
        self._operations = operations
        self._rest = b""
        self._next = 0

    @property
    def done(self) -> bool:
        """Whether every operation has its answer."""
        return self._next == self._operations

    def feed(self, data: bytes) -> list[OutcomeLine]:
        """The outcomes that are whole now. ProtocolError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT_BYTES:
            raise ProtocolError("an outcome is too long", self._rest[:100])
        found = []
        for line in lines:
            if not line.strip():
                continue
            outcome = decode_outcome(line)
            if outcome.index != self._next or self._next >= self._operations:
                raise ProtocolError(f"the outcome of operation {self._next} was due", outcome.index)
            self._next += 1
            found.append(outcome)
        return found

    def finish(self) -> None:
        """At the end of the body. Truncated: the operations from the next on may or may not have been applied."""
        if not self.done or self._rest.strip():
            raise Truncated(f"only {self._next} of {self._operations} operations were answered", applied=None)


def decode_outcomes(body: bytes, operations: int) -> list[OutcomeLine]:
    """A whole answer. ProtocolError, Truncated."""
    reader = OutcomeReader(operations)
    outcomes = reader.feed(body)
    reader.finish()
    return outcomes
