"""Operations one after another where a batch is not one request: what names an earlier one is resolved here.

Who uses: the memory adapter, the historical portal, the retry wrapper for remotes without `batch`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bitcasafs.errors import BitcasaError, PredecessorFailed, Refused, Unavailable
from bitcasafs.remote.interface import Outcome, Source
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Delete, Made, Mkdir, Move, Operation, Put, SetAttributes, Symlink

Work = Sequence[tuple[Operation, Source | None]]
SendOne = Callable[[Operation, Source | None], Awaitable[Outcome]]


def check_work(operations: Work) -> None:
    """ValueError for what a caller must never hand on: a Source without a Put, a Made that looks ahead."""
    for index, (operation, source) in enumerate(operations):
        if isinstance(operation, Put) != (source is not None):
            raise ValueError(f"operation {index}: a Source stands beside each Put and nowhere else")
        if isinstance(operation, Put) and source is not None and source.size_bytes != operation.size_bytes:
            raise ValueError(f"operation {index}: the source has {source.size_bytes} bytes, not {operation.size_bytes}")
        for named in _named(operation):
            if not 0 <= named < index:
                raise ValueError(f"operation {index} names operation {named}, which does not come before it")


def _named(operation: Operation) -> list[int]:
    match operation:
        case Mkdir() | Put() | Symlink():
            places: list[object] = [operation.parent]
        case Move():
            places = [operation.target, operation.parent]
        case SetAttributes() | Delete():
            places = [operation.target]
    return [place.op for place in places if isinstance(place, Made)]


async def one_by_one(operations: Work, send: SendOne) -> list[Outcome]:
    """Send each operation with `send`; one Outcome each.

    A refusal stops those that name it (PredecessorFailed) and nothing else. After any other error the rest is not sent
    (Unavailable, `applied` False): a portal that cannot be reached would make each wait for its own time-out. Such an
    error of the first operation is raised, since nothing has happened that an Outcome would have to tell.
    """
    check_work(operations)
    outcomes: list[Outcome] = []
    made: dict[int, Address] = {}
    for index, (operation, source) in enumerate(operations):
        try:
            resolved = _resolve(operation, made, index)
            outcome = await send(resolved, source)
        except Refused as error:
            outcomes.append(Outcome(error=error))
            continue
        except BitcasaError as error:
            if index == 0:
                raise
            outcomes.append(Outcome(error=error))
            outcomes += [Outcome(error=_not_sent(error)) for _ in operations[index + 1 :]]
            return outcomes
        outcomes.append(outcome)
        if outcome.item is not None:
            made[index] = outcome.item.address
            if isinstance(operation, Move) and isinstance(operation.target, Made):
                # On a portal that knows paths alone, what was made earlier has a new address now.
                made[operation.target.op] = outcome.item.address
    return outcomes


def _not_sent(cause: BitcasaError) -> Unavailable:
    wait = cause.retry_after_seconds if isinstance(cause, Unavailable) else None
    return Unavailable(f"not sent, since one before it failed: {cause}", applied=False, retry_after_seconds=wait)


def _resolve(operation: Operation, made: dict[int, Address], index: int) -> Operation:
    for named in _named(operation):
        if named not in made:
            raise PredecessorFailed(f"operation {index} names operation {named}, which made nothing")
    match operation:
        case Mkdir(parent=Made(op)) | Put(parent=Made(op)) | Symlink(parent=Made(op)):
            return replace(operation, parent=made[op])
        case Move():
            target, parent = operation.target, operation.parent
            return replace(
                operation,
                target=made[target.op] if isinstance(target, Made) else target,
                parent=made[parent.op] if isinstance(parent, Made) else parent,
            )
        case SetAttributes(target=Made(op)) | Delete(target=Made(op)):
            return replace(operation, target=made[op])
    return operation
