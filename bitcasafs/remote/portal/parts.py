"""How many operations fit one request: a batch that is larger than the portal takes is sent as several.

A policy: no I/O. The same operations and limits give the same parts, so that a repeat sends each operation under its
key with the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bitcasafs.dialects.batch import CONTENT_END, HEADERS_LIMIT_BYTES, frame_bytes, references
from bitcasafs.dialects.discovery import BatchLimits
from bitcasafs.errors import BitcasaError, PredecessorFailed, TooLarge
from bitcasafs.remote.interface import Source
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Delete, Made, Mkdir, Move, Operation, Put, SetAttributes, Symlink

Work = Sequence[tuple[Operation, Source | None]]


@dataclass(frozen=True, slots=True)
class Part:
    """Operations [start, stop) of the whole."""

    start: int
    stop: int


def split(operations: Work, limits: BatchLimits) -> list[Part]:
    """Consecutive parts, each within `limits`. TooLarge when one operation alone is not."""
    parts: list[Part] = []
    start = size = headers = 0
    for index, (operation, _) in enumerate(operations):
        frame = frame_bytes(operation)
        content = operation.size_bytes if isinstance(operation, Put) else 0
        if frame > limits.bytes or content > limits.content:
            raise TooLarge(f"operation {index} is larger than a batch may be")
        header = frame - content - len(CONTENT_END) if isinstance(operation, Put) else frame
        if index > start and (
            index - start >= limits.operations or size + frame > limits.bytes or headers + header > HEADERS_LIMIT_BYTES
        ):
            parts.append(Part(start, index))
            start, size, headers = index, 0, 0
        size += frame
        headers += header
    if operations:
        parts.append(Part(start, len(operations)))
    return parts


def shift(operation: Operation, part: Part, made: Sequence[Address | None]) -> Operation | BitcasaError:
    """The operation as its part says it: numbers count from the part's start, items of earlier parts have addresses.

    PredecessorFailed (returned) when an operation of an earlier part that it names made nothing.
    """
    named = references(operation)
    if any(op < part.start and made[op] is None for op in named):
        return PredecessorFailed("an operation that this one names failed")
    if part.start == 0 or not named:
        return operation

    def moved(target: Made) -> Address | Made:
        address = made[target.op] if target.op < part.start else None
        return Made(target.op - part.start) if address is None else address

    match operation:
        case Mkdir(parent=Made() as parent) | Put(parent=Made() as parent) | Symlink(parent=Made() as parent):
            return replace(operation, parent=moved(parent))
        case SetAttributes(target=Made() as target) | Delete(target=Made() as target):
            return replace(operation, target=moved(target))
        case Move():
            if isinstance(operation.target, Made):
                operation = replace(operation, target=moved(operation.target))
            if isinstance(operation.parent, Made):
                operation = replace(operation, parent=moved(operation.parent))
    return operation
