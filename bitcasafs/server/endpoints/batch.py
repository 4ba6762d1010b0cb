"""`POST /batch`: many changes in one request (protocol 2.2, 2.3).

The whole body is received before anything is applied: a body cut in the middle changes nothing. Contents go to the
store as they come, small ones stay in memory up to a bound for all. Then everything is made durable together, and the
answer is one line an operation, sent as the metadata commits them. A client that goes away then changes nothing more:
what it asked for is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from bitcasafs.dialects.batch import (
    BatchReader,
    Content,
    ContentEnd,
    Event,
    OperationRefused,
    OperationStarted,
    encode_outcome,
    references,
)
from bitcasafs.dialects.outcomes import MEDIA_TYPE
from bitcasafs.errors import BitcasaError, ChecksumMismatch, NotFound, PredecessorFailed
from bitcasafs.server.answers import Answer, Streamed
from bitcasafs.server.call import Call
from bitcasafs.server.endpoints.changes import as_request
from bitcasafs.server.incoming import PIECE_BYTES, Incoming
from bitcasafs.server.metadata.interface import Request
from bitcasafs.server.portal import Portal
from bitcasafs.server.storing import kept
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Made, Mkdir, Move, Operation, Put, Symlink, Target

HELD_BYTES = 4 * 1024 * 1024
"""Contents of one batch that are whole and wait in memory go to the disk together, in one hop to a thread, once they
are more than this. The check comes after each piece of the body, so a piece is what may be held beyond it; the content
that is coming is bounded by `Incoming`, the operations by HEADERS_LIMIT_BYTES of `dialects.batch`."""


@dataclass(slots=True)
class Arrived:
    """A batch as far as it came. `refused`: operations that cannot be tried, with the reason. `count`: how many there
    are in all, known at the end."""

    operations: dict[int, Operation] = field(default_factory=dict)
    contents: dict[int, Incoming] = field(default_factory=dict)
    refused: dict[int, BitcasaError] = field(default_factory=dict)
    count: int = 0


async def batch(call: Call) -> Answer:
    portal = call.portal
    if portal.extensions is None or portal.extensions.batch is None:
        raise NotFound("this portal has no batches")
    user = call.user
    reader = BatchReader(portal.extensions.batch)
    arrived = Arrived()
    try:
        await _receive(call, reader, arrived)
    except BaseException:
        await _discard(arrived)
        raise
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def work() -> None:
        try:
            await portal.threads.write(
                _carry_out, portal, user, arrived, lambda line: loop.call_soon_threadsafe(lines.put_nowait, line)
            )
        finally:
            await _discard(arrived)
            lines.put_nowait(None)

    working = asyncio.create_task(work())
    first = await _ready(lines)
    if not first:
        # Nothing was applied: an error of the whole request, or a batch without operations.
        await working

    async def answer() -> AsyncIterator[bytes]:
        piece = first
        while piece:
            yield piece
            piece = await _ready(lines)
        await working

    return Streamed(answer(), _nothing, media_type=MEDIA_TYPE)


def _nothing() -> None:
    """The work goes on when the client went away."""


async def _receive(call: Call, reader: BatchReader, arrived: Arrived) -> None:
    portal = call.portal
    current: Incoming | None = None
    held: list[Incoming] = []
    held_bytes = 0
    async for piece in call.body.pieces(portal.limits.batch.bytes):
        for event in reader.feed(piece):
            current = _note(portal, event, arrived) or current
            if isinstance(event, Content):
                assert current is not None, "the reader announces every content"
                if current.size_bytes + len(event.data) < PIECE_BYTES:
                    current.take(event.data)
                else:
                    await current.write(event.data)
            elif isinstance(event, ContentEnd) and current is not None:
                await current.settle()
                held.append(current)
                held_bytes += current.pending_bytes
        if held_bytes > HELD_BYTES:
            await portal.threads.content(_finish, held)
            held, held_bytes = [], 0
    arrived.count = reader.finish()


def _note(portal: Portal, event: Event, arrived: Arrived) -> Incoming | None:
    """Remember an operation; answers where its content goes, when it has one."""
    if isinstance(event, OperationRefused):
        arrived.refused[event.index] = event.error
    elif isinstance(event, OperationStarted):
        arrived.operations[event.index] = event.operation
        if isinstance(event.operation, Put):
            arrived.contents[event.index] = Incoming(portal)
            return arrived.contents[event.index]
    return None


def _finish(incoming: list[Incoming]) -> None:
    for one in incoming:
        one.finish()


async def _discard(arrived: Arrived) -> None:
    for incoming in arrived.contents.values():
        await incoming.discard()


async def _ready(lines: asyncio.Queue[bytes | None]) -> bytes:
    """All lines that are there, at least one; empty at the end."""
    found = []
    line = await lines.get()
    while line is not None:
        found.append(line)
        if lines.empty():
            return b"".join(found)
        line = lines.get_nowait()
    if found:
        lines.put_nowait(None)
    return b"".join(found)


def _carry_out(portal: Portal, user: int, arrived: Arrived, emit: Callable[[bytes], object]) -> None:
    """Make contents durable, apply, and say what became of each operation, in order. Blocks."""
    requests: list[Request] = []
    places: dict[int, int] = {}
    for index in sorted(arrived.operations):
        try:
            request = _request(arrived, index, places)
        except BitcasaError as error:
            arrived.refused[index] = error
        else:
            places[index] = len(requests)
            requests.append(request)
    usable = [arrived.contents[index] for index in places if index in arrived.contents]
    with kept(portal, usable) as unused:
        # A batch of one is how a mount sends a file that it has alone; several come at once.
        if len(requests) == 1:
            applied = iter([portal.commits.apply(user, requests[0])])
        else:
            applied = portal.metadata.apply(user, requests)
        for index in range(arrived.count):
            if index in places:
                one = next(applied)
                request = requests[places[index]]
                if one.error is not None and request.content is not None:
                    unused.add(request.content.digest)
                line = encode_outcome(
                    index, one.status, one.item, one.error, one.current, one.cursor, replayed=one.replayed
                )
            else:
                line = encode_outcome(index, error=arrived.refused[index])
            emit(line)


def _request(arrived: Arrived, index: int, places: dict[int, int]) -> Request:
    """The operation for the metadata, which counts only those that reach it. PredecessorFailed, ChecksumMismatch."""
    operation = arrived.operations[index]
    incoming = arrived.contents.get(index)
    content = incoming.finish() if incoming is not None else None
    if any(named not in places for named in references(operation)):
        raise PredecessorFailed("an operation that this one names failed")
    if isinstance(operation, Put) and content is not None and operation.md5 not in (None, content.md5):
        raise ChecksumMismatch("the content does not have the md5 it was sent with", applied=False)
    # The digest that tells repeats apart is of the operation as it was sent.
    return replace(as_request(operation, content), operation=_renumbered(operation, places))


def _renumbered(operation: Operation, places: dict[int, int]) -> Operation:
    """With `Made` counting the operations that reach the metadata."""

    def placed(target: Target) -> Target:
        return Made(places[target.op]) if isinstance(target, Made) else target

    def folder(parent: Address | Made) -> Address | Made:
        return Made(places[parent.op]) if isinstance(parent, Made) else parent

    if isinstance(operation, Mkdir | Put | Symlink):
        return replace(operation, parent=folder(operation.parent))
    if isinstance(operation, Move):
        return replace(operation, target=placed(operation.target), parent=folder(operation.parent))
    return replace(operation, target=placed(operation.target))
