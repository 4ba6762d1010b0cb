"""`Remote` over a drive in memory. Several clients may share one drive; each waits at least once in every call."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import trio

from bitcasafs.dialects.names import is_upload_name, upload_name
from bitcasafs.errors import (
    BitcasaError,
    Exists,
    IsFolder,
    KeyReused,
    NotFolder,
    NotFound,
    RangeInvalid,
    Unsupported,
    VersionGone,
    VersionMismatch,
)
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.remote.memory.changes import Changer
from bitcasafs.remote.memory.drive import MemoryDrive, Node
from bitcasafs.remote.sequence import one_by_one
from bitcasafs.values.items import Address, AttributeChange, Attributes, Cursor, Item, Listing, Profile, Version
from bitcasafs.values.operations import (
    Delete,
    Mkdir,
    Move,
    OnExisting,
    Operation,
    Place,
    Put,
    SetAttributes,
    Symlink,
)

_PIECE_BYTES = 256 * 1024
EXTENDED = Capabilities(
    versions=True, attributes=True, batch=True, quota=True, batch_operations=1000, batch_bytes=16 * 1024 * 1024
)


@dataclass(slots=True)
class MemoryRemote:
    """A client of `drive`. `historical`: presents itself as a portal without extensions."""

    drive: MemoryDrive
    historical: bool = False

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities() if self.historical else EXTENDED

    async def connect(self) -> Capabilities:
        await trio.lowlevel.checkpoint()
        return self.capabilities

    async def profile(self) -> Profile:
        await trio.lowlevel.checkpoint()
        return Profile(
            email="user@example.org",
            quota_bytes=self.drive.quota_bytes,
            used_bytes=self.drive.used_bytes,
            files=None if self.historical else len(self.drive.files),
        )

    async def roots(self) -> Listing:
        await trio.lowlevel.checkpoint()
        return self._listing(self.drive.roots)

    async def list(self, folder: Address) -> Listing:
        await trio.lowlevel.checkpoint()
        if folder.path == "/" and folder.node is None:
            return self._listing(self.drive.roots)
        node = self.drive.find(folder, by_node=not self.historical)
        if node.children is None:
            raise NotFolder(f"{node.path} is not a folder")
        return self._listing([child for name, child in node.children.items() if not is_upload_name(name)])

    async def look(self, target: Address | Place) -> Item:
        await trio.lowlevel.checkpoint()
        return self._item(Changer(self.drive, by_node=not self.historical).find(target))

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        await trio.lowlevel.checkpoint()
        if not 0 <= start <= stop <= content.size_bytes:
            raise RangeInvalid(f"no bytes {start} to {stop} in {content.size_bytes}")
        data = self._content(content)
        for offset in range(start, stop, _PIECE_BYTES):
            sink(offset, data[offset : min(stop, offset + _PIECE_BYTES)])
            await trio.lowlevel.checkpoint()

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        if source.size_bytes != put.size_bytes:
            raise ValueError(f"the source has {source.size_bytes} bytes, not {put.size_bytes}")
        if self.historical and put.exists is OnExisting.OVERWRITE:
            item = await self._replace(put, source, resume, on_step)
        else:
            item = await self._one(put, source)
        if progress is not None:
            progress(put.size_bytes)
        return item

    async def _replace(
        self, put: Put, source: Source, resume: ReplaceStep | None, on_step: Callable[[ReplaceStep], None] | None
    ) -> Item:
        """In steps that others can see, and that a caller can be stopped between, as on a historical portal."""
        assert isinstance(put.parent, Address)
        step = resume or ReplaceStep(upload_name(put.name, put.key or "no key"), uploaded=False, deleted=False)
        tell = on_step if on_step is not None else _tell_nobody
        changer = Changer(self.drive, by_node=False)
        aside = replace(put, name=step.upload_name, exists=OnExisting.FAIL, if_match=None)
        try:
            if not step.uploaded and changer.present(aside) is None:
                changer.check_replaceable(put)
                tell(step)
                await self._one(aside, source)
            if not step.uploaded:
                step = replace(step, uploaded=True)
                tell(step)
            if not step.deleted:
                if changer.present(put) is not None or resume is None:
                    changer.check_replaceable(put)
                    await self._delete_if_there(put)
                step = replace(step, deleted=True)
                tell(step)
            if changer.present(put) is not None and changer.present(aside) is None:
                return self._item(self.drive.find(put.parent.child(put.name), by_node=False))
            return await self._one(Move(put.parent.child(step.upload_name), put.parent, put.name), None)
        except (Exists, IsFolder, VersionMismatch):
            # Somebody else's keeps the name; nothing of ours is left.
            await self._delete_if_there(aside)
            raise

    async def _delete_if_there(self, put: Put) -> None:
        assert isinstance(put.parent, Address)
        with contextlib.suppress(NotFound):
            await self._apply_one(Delete(put.parent.child(put.name)))

    async def _apply_one(self, operation: Operation) -> None:
        outcome = await self._send(operation, None)
        if outcome.error is not None:
            raise outcome.error

    async def _one(self, operation: Operation, source: Source | None) -> Item:
        outcome = await self._send(operation, source)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.item is not None
        return outcome.item

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        # The drive is changed by one operation at a time, as several machines' batches interleave on a portal.
        return await one_by_one(operations, self._send)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    # --- one operation ---------------------------------------------------------------------------------------------

    async def _send(self, operation: Operation, source: Source | None) -> Outcome:
        await trio.lowlevel.checkpoint()
        data = None if source is None else source.read(0, source.size_bytes)
        if self.historical:
            operation = _without_extensions(operation)
        replayed = self._replayed(operation, data)
        if replayed is not None:
            return replayed
        outcome = self._carry_out(operation, data)
        if operation.key is not None and outcome.error is None:
            self.drive.answers[operation.key] = _digest(operation, data), outcome
        return outcome

    def _carry_out(self, operation: Operation, data: bytes | None) -> Outcome:
        changer = Changer(self.drive, by_node=not self.historical)
        try:
            node = changer.apply(operation, data)
        except (Exists, VersionMismatch) as error:
            current = changer.current(operation)
            return Outcome(error=error, current=None if current is None else self._item(current), cursor=self._cursor)
        except BitcasaError as error:
            return Outcome(error=error, cursor=self._cursor)
        return Outcome(item=None if node is None else self._item(node), cursor=self._cursor)

    def _replayed(self, operation: Operation, data: bytes | None) -> Outcome | None:
        if self.historical or operation.key is None or operation.key not in self.drive.answers:
            return None
        digest, outcome = self.drive.answers[operation.key]
        if digest != _digest(operation, data):
            return Outcome(error=KeyReused(f"the key {operation.key} belongs to another request"))
        assert isinstance(outcome, Outcome)
        return outcome

    # --- telling ---------------------------------------------------------------------------------------------------

    @property
    def _cursor(self) -> Cursor | None:
        return None if self.historical else self.drive.cursor

    def _listing(self, nodes: Sequence[Node]) -> Listing:
        return Listing(tuple(self._item(node) for node in nodes), self._cursor)

    def _item(self, node: Node) -> Item:
        item = self.drive.item(node)
        if not self.historical:
            return item
        return replace(
            item,
            node=None,
            parent=None,
            revision=None,
            version=None if item.id is None else Version(item.id),
            digests={},
            attributes=Attributes(),
        )

    def _content(self, content: ContentRef) -> bytes:
        if self.historical or content.version is None:
            found = self.drive.contents.get(content.id)
            if found is None:
                raise NotFound(f"no content {content.id}")
        else:
            found = self.drive.contents.get(content.version)
            if found is None:
                raise VersionGone(f"the version {content.version} is no longer kept")
        if len(found.data) != content.size_bytes:
            raise VersionMismatch(f"the content has {len(found.data)} bytes, not {content.size_bytes}")
        return found.data


def _without_extensions(operation: Operation) -> Operation:
    """What a portal without extensions would be sent. Unsupported for what it has no way to do."""
    match operation:
        case SetAttributes() | Symlink():
            raise Unsupported("this portal keeps no attributes")
        case Move(exists=OnExisting.EXCHANGE):
            raise Unsupported("this portal cannot exchange two names")
        case Put() if operation.attributes.values.keys() & {"symlink", "special"}:
            raise Unsupported("this portal keeps no attributes")
    if isinstance(operation, Put | Mkdir):
        operation = replace(operation, attributes=AttributeChange())
    return replace(operation, parent_mtime_ns=None, key=None)


def _tell_nobody(_: ReplaceStep) -> None:
    pass


def _digest(operation: Operation, data: bytes | None) -> str:
    return hashlib.sha256(repr(replace(operation, key=None)).encode() + b"\0" + (data or b"")).hexdigest()


def _check_protocol(drive: MemoryDrive) -> Remote:
    return MemoryRemote(drive)
