"""Changes on a portal that offers part 1 alone: each is made of the few steps that it knows.

What is missing is said (Unsupported: attributes, symlinks, exchange) before anything is sent; attributes that ride
along a new file or folder are left out, for the item matters more than its mode. Conditions are checked by listing the
parent and comparing a file's `id`. Nothing is repeated here; a change whose outcome is unknown is remembered by its
idempotency key, and when it comes again, what is found done counts as done by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitcasafs.dialects.names import check_name, is_upload_name
from bitcasafs.errors import (
    Exists,
    Forbidden,
    IsFolder,
    Loop,
    NotEmpty,
    NotFolder,
    NotFound,
    Unsupported,
    VersionMismatch,
)
from bitcasafs.remote.interface import Outcome, ReplaceStep, Source
from bitcasafs.remote.keys import with_key
from bitcasafs.remote.portal.reads import Reads
from bitcasafs.remote.portal.replacing import Storing
from bitcasafs.remote.portal.session import Session
from bitcasafs.remote.portal.steps import Doubt, Steps, no_doubt, split_parent
from bitcasafs.remote.portal.uploads import Progress
from bitcasafs.remote.sequence import one_by_one
from bitcasafs.values.items import Address, IdempotencyKey, Item, Version
from bitcasafs.values.operations import (
    Delete,
    Made,
    Mkdir,
    Move,
    OnExisting,
    Operation,
    Place,
    Put,
    SetAttributes,
    Symlink,
)

_REMEMBERED = 4096


class HistoricalChanges:
    """What `PortalRemote` does with `store` and `apply` where the portal has no extensions."""

    def __init__(self, session: Session, reads: Reads) -> None:
        self._steps = Steps(session, reads)
        self._storing = Storing(self._steps, reads)
        self._unsettled: dict[IdempotencyKey, None] = {}

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Progress | None = None,
    ) -> Item:
        if put.attributes.values.keys() & {"symlink", "special"}:
            raise Unsupported("this portal keeps neither links nor pipes")
        return await self._storing.store(with_key(put), source, resume, on_step, progress)

    async def look(self, target: Address | Place) -> Item:
        return await self._steps.find(_path(target))

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        return await one_by_one(operations, self._send)

    async def _send(self, operation: Operation, source: Source | None) -> Outcome:
        operation = with_key(operation)
        assert operation.key is not None
        item = await self._carry_out(operation, source)
        self._unsettled.pop(operation.key, None)
        return Outcome(item=item)

    async def _carry_out(self, operation: Operation, source: Source | None) -> Item | None:
        match operation:
            case Put():
                assert source is not None
                return await self.store(operation, source)
            case Mkdir():
                return await self._mkdir(operation)
            case Move():
                return await self._move(operation)
            case Delete():
                await self._delete(operation)
                return None
            case SetAttributes() | Symlink():
                raise Unsupported("this portal keeps no attributes")

    def _doubt(self, operation: Operation) -> Doubt:
        """Remembers that this operation may have taken effect."""

        def remember() -> None:
            assert operation.key is not None
            self._unsettled[operation.key] = None
            while len(self._unsettled) > _REMEMBERED:
                del self._unsettled[next(iter(self._unsettled))]

        return remember

    # --- one operation ---------------------------------------------------------------------------------------------

    async def _mkdir(self, mkdir: Mkdir) -> Item:
        if mkdir.attributes.values.keys() & {"symlink", "special"}:
            raise Unsupported("this portal keeps neither links nor pipes")
        item, made = await self._steps.make_folder(_address(mkdir.parent), check_name(mkdir.name), self._doubt(mkdir))
        if not made and mkdir.exists is not OnExisting.MERGE and mkdir.key not in self._unsettled:
            raise Exists(f"{item.path} exists")
        return item

    async def _delete(self, delete: Delete) -> None:
        path = _path(delete.target)
        _check_not_root(path)
        try:
            item = await self._steps.find(path)
        except NotFound:
            if delete.key in self._unsettled:
                return
            raise
        _check_match(item, delete.if_match)
        if item.is_folder and not delete.recursive:
            await self._check_empty(item)
        await self._steps.delete(path, self._doubt(delete))

    async def _move(self, move: Move) -> Item:
        if move.exists is OnExisting.EXCHANGE:
            raise Unsupported("this portal cannot exchange two names")
        source, parent, name = _path(move.target), _address(move.parent), check_name(move.name)
        destination = parent.child(name).path
        _check_not_root(source)
        folder, old_name = split_parent(source)
        before = await self._steps.entries(folder)
        item = before.get(old_name)
        if item is None:
            return await self._moved_before(move, source, destination)
        _check_match(item, move.if_match)
        if destination == source:
            return item
        if f"{parent.path}/".startswith(f"{source}/"):
            raise Loop(f"{source} cannot move into itself")
        if move.exists is OnExisting.OVERWRITE or move.if_match_target is not None:
            there = before if folder.path == parent.path else await self._steps.entries(parent)
            await self._make_way(move, item, there.get(name))
        return await self._steps.rename(item, parent, name, self._doubt(move))

    async def _moved_before(self, move: Move, source: str, destination: str) -> Item:
        """The source is gone: by an earlier attempt whose answer was lost, or by somebody else (NotFound)."""
        if move.key in self._unsettled:
            return await self._steps.find(destination)
        raise NotFound(f"no item at {source}")

    async def _make_way(self, move: Move, item: Item, other: Item | None) -> None:
        """Delete what is replaced. Others may see a gap of one round trip."""
        if other is None and move.key in self._unsettled:
            return  # Deleted by an earlier attempt, which then failed.
        _check_match(other, move.if_match_target)
        if other is None:
            return
        if move.exists is not OnExisting.OVERWRITE:
            raise Exists(f"{other.path} exists")
        if other.is_folder and not item.is_folder:
            raise IsFolder(f"{other.path} is a folder")
        if item.is_folder and not other.is_folder:
            raise NotFolder(f"{other.path} is not a folder")
        if other.is_folder:
            await self._check_empty(other)
        self._doubt(move)()
        try:
            await self._steps.delete(other.path, no_doubt)
        except NotFound:
            return

    async def _check_empty(self, folder: Item) -> None:
        """What a mount hides does not keep a folder: it is the rest of an upload that its own machine still has."""
        if any(not is_upload_name(name) for name in await self._steps.entries(folder.address)):
            raise NotEmpty(f"{folder.path} is not empty")


def _address(parent: Address | Made) -> Address:
    assert isinstance(parent, Address)
    return parent


def _path(target: Address | Place | Made) -> str:
    assert not isinstance(target, Made)
    return target.parent.child(target.name).path if isinstance(target, Place) else target.path


def _check_not_root(path: str) -> None:
    if path.count("/") < 2:
        raise Forbidden(f"{path} is a root")


def _check_match(item: Item | None, wanted: Version | None) -> None:
    if wanted is None:
        return
    if item is None:
        raise VersionMismatch("the item is gone")
    if item.is_folder:
        raise Unsupported("folders of this portal have no revision to compare")
    if item.id != wanted:
        raise VersionMismatch(f"{item.path} was changed by somebody else")
