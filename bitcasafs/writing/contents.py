"""Staged content by node: its life from the first write to the seal.

One content record of a node waits for its writers at most, and one more may be on its way. A write to what is on its
way goes on in a copy, so what is sent is byte for byte one generation. Functions that wait say so; all others run
between two awaits. Whoever makes a copy, or takes content back from the queue, holds the node's lock: no write goes
into what is being copied.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakValueDictionary

import trio

from bitcasafs.remote.interface import ContentRef, ReplaceStep
from bitcasafs.values.items import Attributes, Item, Version
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number, Record, State
from bitcasafs.writing.outbox import Outbox, new_key
from bitcasafs.writing.ranges import Ranges
from bitcasafs.writing.staging import StagedFile, Staging


class Contents:
    """Who uses it: `vfs` to write, read, seal and let go; the scheduler to send."""

    def __init__(self, outbox: Outbox, staging: Staging) -> None:
        self._outbox = outbox
        self._staging = staging
        self._files: dict[str, StagedFile] = {}
        self._orphans: dict[Number, tuple[StagedFile, ContentRef | None]] = {}
        self._locks: WeakValueDictionary[Number, trio.Lock] = WeakValueDictionary()

    # --- what there is --------------------------------------------------------------------------------------------

    def records(self, node: Number) -> list[Record]:
        """Contents of the node that are not on the portal, oldest first."""
        return [record for record in self._outbox.of_node(node) if record.change.kind is ChangeKind.CONTENT]

    def record(self, node: Number) -> Record | None:
        """The newest content of the node that is not on the portal."""
        return next(reversed(self.records(node)), None)

    def staged(self, record: Record) -> StagedFile:
        """The file of a record. FileNotFoundError: somebody removed it from the staging folder."""
        assert record.staged is not None
        found = self._files.get(record.staged)
        if found is None:
            fields = record.change.fields
            found = self._staging.open(record.staged, fields.size_bytes or 0, fields.base_limit, Ranges(fields.written))
            self._files[record.staged] = found
        return found

    def of_node(self, node: Number) -> tuple[StagedFile, ContentRef | None] | None:
        """What a read of the node must look at first, and what its holes are filled from.

        None also when the staged file of a problem is gone: the portal's version is what is left.
        """
        orphan = self._orphans.get(node)
        if orphan is not None:
            return orphan
        record = self.record(node)
        if record is None:
            return None
        try:
            return self.staged(record), base_of(record)
        except FileNotFoundError:
            if record.state is State.PROBLEM:
                return None
            raise

    # --- writing --------------------------------------------------------------------------------------------------

    def begin(self, change: Change, name: str, *, keep_bytes: int = 0) -> Record:
        """Start content for a node: an empty file, or `keep_bytes` of the base that the change's fields name."""
        staged = self._staging.create(self._serial(), name, size_bytes=keep_bytes, base_limit=keep_bytes)
        fields = replace(change.fields, base_limit=keep_bytes)
        try:
            record = self._outbox.append(replace(change, fields=fields), state=State.OPEN, staged=staged.name)
        except BaseException:
            staged.close()
            self._staging.remove(staged.name)
            raise
        self._files[staged.name] = staged
        return record

    async def writable(self, record: Record) -> StagedFile | None:
        """The content, ready to be written: taken back from the queue, or copied while it is on its way or may have
        arrived (an in-kernel copy in a thread).

        None: there is newer content, or none any more: look again.
        """
        if record.state is State.OPEN:
            return self.staged(record)
        lock = self._locks.setdefault(record.change.node, trio.Lock())
        async with lock:
            current = self.record(record.change.node)
            if current is None or current.id != record.id:
                return None
            if current.state is State.SENDING or current.unsure:
                return await self._copy(current)
            if current.state is not State.OPEN:
                current = self._outbox.update(current.moved(State.OPEN, reason=None))
            return self.staged(current)

    async def unsync(self, record: Record) -> None:
        """Something of the content is about to be cut off, and the disk may say that it is synced: from here on, also
        after a power cut, it is not. Waits for the disk; look again at the record then.
        """
        assert record.staged is not None
        self._outbox.update(replace(record, synced=False, boot_id=self._outbox.boot_id))
        self._outbox.perhaps_synced.discard(record.staged)  # before the wait: it may be synced again meanwhile
        try:
            await trio.to_thread.run_sync(self._outbox.sync)
        except BaseException:
            self._outbox.perhaps_synced.add(record.staged)
            raise

    async def _copy(self, sending: Record) -> StagedFile | None:
        original = self.staged(sending)
        copy = await self._staging.copy(original, self._serial(), original.name.split(" ", 1)[-1])
        try:
            current = self._outbox.get(sending.id)
            if current is not None:  # else it arrived, or was unlinked, meanwhile
                fields = replace(current.change.fields, replacing=None)
                self._outbox.append(replace(current.change, fields=fields), state=State.OPEN, staged=copy.name)
                self._files[copy.name] = copy
                return copy
        except BaseException:
            self._discard(copy)
            raise
        self._discard(copy)
        return None

    def _serial(self) -> int:
        return self._outbox.newest_id + 1

    def seal(self, record: Record, attributes: Attributes) -> Record:
        """What flush and fsync promise: this content, with these attributes, outlives the mount. What it replaces and
        was never sent is given up.
        """
        staged = self.staged(record)
        fields = replace(
            record.change.fields,
            size_bytes=staged.size_bytes,
            attributes=attributes,
            base_limit=0 if staged.whole else staged.base_limit,
            written=() if staged.whole else tuple(staged.written),
        )
        sealed = self._outbox.seal(record, replace(record.change, fields=fields))
        for older in self.records(record.change.node):
            if older.id < sealed.id and older.state is not State.SENDING and not older.unsure:
                self.drop(older)
        return sealed

    def note_step(self, number: int, step: ReplaceStep, spot: tuple[Number, str] | None) -> None:
        """The record's content is being put over another at `spot`, step by step, and got so far: from here on the
        name leads to this content, whatever the portal lists in between.
        """
        record = self._outbox.get(number)
        if record is not None:
            parent, name = (None, None) if spot is None else spot
            replacing = (step.upload_name, step.uploaded, step.deleted)
            fields = replace(record.change.fields, parent=parent, name=name, replacing=replacing)
            self._outbox.update(replace(record, change=replace(record.change, fields=fields)))

    def superseded(self, record: Record) -> bool:
        """Newer content of the node is sealed: nobody needs to decide what becomes of this one."""
        newest = self.record(record.change.node)
        return newest is not None and newest.id > record.id and newest.state is State.READY

    def change_fields(self, record: Record, fields: Fields) -> Record:
        """Attributes or the name of content that is not on its way changed: another request, so another key."""
        assert record.state is not State.SENDING
        assert not record.unsure
        return self._outbox.update(
            replace(record, change=replace(record.change, fields=fields), key=new_key(), attempts=0)
        )

    def arrived(self, record: Record, item: Item | None) -> None:
        """The content is on the portal as `item`: forget record and file; newer content of the node replaces that.

        NoSpace: nothing of it is recorded; call it again.
        """
        later = next((one for one in self.records(record.change.node) if one.id > record.id), None)
        with self._outbox.together():
            if self._outbox.get(record.id) is not None:
                self._outbox.remove(record.id)
            if later is not None and item is not None:
                self._outbox.update(_rebased(later, item))
        self._forget(record)

    # --- unlinked files that are still open -----------------------------------------------------------------------

    def let_go(self, node: Number, *, still_open: bool) -> None:
        """No name leads to the node any more: open handles keep its newest content, else it is dropped."""
        records = self.records(node)
        with self._outbox.together():
            for record in records:
                self._outbox.remove(record.id)
        self._end(node, records, still_open)

    def take_place(
        self, node: Number, folder: Number, name: str, over: Version | None, other: Number | None, *, still_open: bool
    ) -> None:
        """Content of a node that is only here gets another name, where it will replace the version `over`. `other`, the
        node that had that name, is let go of in the same step: no kill leaves one without the other.
        """
        ended = [] if other is None else self.records(other)
        with self._outbox.together():
            for record in self.records(node):
                self.change_fields(record, replace(record.change.fields, parent=folder, name=name, over=over))
            for record in ended:
                self._outbox.remove(record.id)
        if other is not None:
            self._end(other, ended, still_open)

    def _end(self, node: Number, records: list[Record], still_open: bool) -> None:
        """The files of records that are in the outbox no more, oldest first."""
        for record in reversed(records):
            if not (still_open and node not in self._orphans and self._orphan(record)):
                self._forget(record)

    def _orphan(self, record: Record) -> bool:
        """The content lives on without a name, and ends with this process. False: somebody removed the file."""
        try:
            staged = self.staged(record)
            staged.lose_name()
        except FileNotFoundError:
            return False
        del self._files[staged.name]
        self._orphans[record.change.node] = (staged, base_of(record))
        self._staging.remove(staged.name)
        return True

    def begin_orphan(self, node: Number, base: ContentRef | None) -> StagedFile:
        """Content for a node that is unlinked already."""
        size = 0 if base is None else base.size_bytes
        staged = self._staging.create(self._serial(), "unlinked", size_bytes=size, base_limit=size)
        staged.lose_name()
        self._staging.remove(staged.name)
        self._orphans[node] = (staged, base)
        return staged

    def end_orphan(self, node: Number) -> None:
        """The last handle was closed. Idempotent."""
        found = self._orphans.pop(node, None)
        if found is not None:
            found[0].close()

    # --- the end of a content -------------------------------------------------------------------------------------

    def drop(self, record: Record) -> None:
        """Nobody wants the content: forget record and file."""
        if self._outbox.get(record.id) is not None:
            self._outbox.remove(record.id)
        self._forget(record)

    def _forget(self, record: Record) -> None:
        """Open handles read on from the file only through `of_node`, which finds it no more."""
        assert record.staged is not None
        self._outbox.perhaps_synced.discard(record.staged)
        staged = self._files.pop(record.staged, None)
        if staged is not None:
            staged.close()
        self._staging.remove(record.staged)

    def _discard(self, staged: StagedFile) -> None:
        staged.close()
        self._staging.remove(staged.name)

    def close(self) -> None:
        """Close the files; they stay in the folder."""
        self._files.clear()
        self._orphans.clear()
        self._staging.close()


def base_of(record: Record) -> ContentRef | None:
    """What the holes of a record are filled from."""
    fields = record.change.fields
    if fields.base_id is None:
        return None
    return ContentRef(fields.base_id, fields.base_bytes, fields.base_version or record.change.base)


def _rebased(record: Record, item: Item) -> Record:
    """Content that was copied from what arrived as `item`: it replaces that, and its holes are the same there."""
    fields = replace(record.change.fields, parent=None, name=None, over=None, replacing=None)
    if fields.base_id is not None and item.id is not None:
        fields = replace(fields, base_id=item.id, base_bytes=item.size_bytes, base_version=None)
    version = item.version or (Version(item.id) if item.id is not None else None)
    return replace(record, change=replace(record.change, base=version, fields=fields))
