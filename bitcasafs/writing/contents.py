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
from bitcasafs.writing.laying import NONE, laid_over
from bitcasafs.writing.outbox import Outbox, new_key
from bitcasafs.writing.ranges import Ranges
from bitcasafs.writing.staging import StagedFile, Staging
from bitcasafs.writing.under_way import UnderWay

COPIED_BYTES = 64 << 20
"""Larger files are copied only where that is quick: half a second of a slow disk, for which a writer waits."""


class Contents:
    """Who uses it: `vfs` to write, read, seal and let go; the scheduler to send."""

    def __init__(self, outbox: Outbox, staging: Staging) -> None:
        self._outbox = outbox
        self._staging = staging
        self._files: dict[str, StagedFile] = {}
        self._orphans: dict[Number, tuple[StagedFile, ContentRef | None]] = {}
        self._locks: WeakValueDictionary[Number, trio.Lock] = WeakValueDictionary()
        self.under_way = UnderWay()

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
        arrived (an in-kernel copy in a thread). Of a large file on a disk that cannot share a copy's blocks the sending
        is stopped instead, where that is sure to undo it; it begins again after the next seal.

        None: there is newer content, or none any more: look again.
        """
        if record.state is State.OPEN:
            return self.staged(record)
        lock = self._locks.setdefault(record.change.node, trio.Lock())
        async with lock:
            current = self.record(record.change.node)
            if current is None or current.id != record.id:
                return None
            if self._may_stop(current):
                await self._stop(current)
                return None
            if current.state is State.SENDING or current.unsure or current.id in self._outbox.urgent:
                return await self._copy(current)
            if current.state is not State.OPEN:
                current = self._outbox.update(current.moved(State.OPEN, reason=None))
            return self.staged(current)

    def is_copied_soon(self, record: Record) -> bool:
        """A copy of what is sealed is made in a moment."""
        return (record.change.fields.size_bytes or 0) <= COPIED_BYTES or self._staging.clones

    def _may_stop(self, sending: Record) -> bool:
        if sending.state is not State.SENDING or sending.unsure or sending.id in self._outbox.urgent:
            return False
        if self.is_copied_soon(sending) or sending.change.fields.replacing is not None:
            return False
        return self.under_way.may_stop(sending.id)

    async def _stop(self, sending: Record) -> None:
        """Take it back from its way, unless it arrives this moment, or may have."""
        with self.under_way.stopping(sending.id):
            while True:
                current = self._outbox.get(sending.id)
                if current is None or current.state is not State.SENDING:
                    break
                changed = trio.Event()
                self._outbox.watch_once(changed.set)
                await changed.wait()
            if current is not None and current.state is State.READY and current.quiet:
                self._outbox.update(current.moved(State.OPEN))

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
                # The name is the first one's to take, and so are its attributes: sent again with the copy they would
                # undo what was set in between. `_inherit` hands all of it on when the first one is given up.
                fields = replace(
                    current.change.fields,
                    parent=None,
                    name=None,
                    over=None,
                    over_node=None,
                    replacing=None,
                    attributes=NONE,
                    dropped=(),
                )
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
        with self._outbox.together():
            sealed = self._outbox.seal(record, replace(record.change, fields=fields))
            for older in self.records(record.change.node):
                if older.id < sealed.id and older.state is not State.SENDING and not older.unsure:
                    sealed = self._inherit(sealed, older)
                    self._drop(older)
        return sealed

    def _inherit(self, newer: Record, older: Record) -> Record:
        """What `older`, which is given up, was to bring: its attributes, the name of a new node, and what it replaces
        there.
        """
        gone, fields = older.change.fields, newer.change.fields
        attributes = laid_over(gone.attributes, fields.attributes, fields.dropped)
        fields = replace(fields, attributes=attributes, dropped=(*gone.dropped, *fields.dropped))
        newer = self._outbox.update(replace(newer, change=replace(newer.change, fields=fields)))
        if gone.parent is None or fields.parent is not None or gone.replacing is not None:
            return newer
        fields = replace(fields, parent=gone.parent, name=gone.name, over=gone.over, over_node=gone.over_node)
        return self._outbox.update(replace(newer, change=replace(newer.change, fields=fields)))

    def give_up(self, record: Record) -> bool:
        """Drop content that the portal refused, when newer content of the node is sealed: nobody needs to decide what
        becomes of it. False: there is none.
        """
        newest = self.record(record.change.node)
        if newest is None or newest.id <= record.id or newest.state is not State.READY:
            return False
        with self._outbox.together():
            self._inherit(newest, record)
            self._drop(record)
        return True

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

    def change_fields(self, record: Record, fields: Fields) -> Record:
        """Attributes, or what the change replaces, became others: another request, so another key. Of quiet ones."""
        assert record.quiet
        changed = replace(record, change=replace(record.change, fields=fields))
        if record.state is State.OPEN and not record.generation:
            return self._outbox.hold(changed)
        return self._outbox.update(replace(changed, key=new_key(), attempts=0))

    def retarget(
        self,
        record: Record,
        spot: tuple[Number, str],
        over: Version | None,
        over_node: Number | None,
        *,
        local: bool = False,
    ) -> Record:
        """A new node that is only here gets another name, where it will replace the version `over` of `over_node`.

        It takes its place at the end of the order: the name may have been given up by a younger change. What was
        refused under the old name is tried again.
        """
        assert record.quiet
        fields = replace(
            record.change.fields, parent=spot[0], name=spot[1], over=over, over_node=over_node, local=local
        )
        state = State.READY if record.state is State.PROBLEM else record.state
        change = replace(record.change, fields=fields)
        return self._outbox.move_to_end(
            replace(record, change=change, key=new_key(), attempts=0, state=state, reason=None)
        )

    def arrived(self, record: Record, item: Item | None) -> None:
        """The content is on the portal as `item`: forget record and file; what waits for the node replaces that.

        NoSpace: nothing of it is recorded; call it again.
        """
        node = record.change.node
        with self._outbox.together():
            if self._outbox.get(record.id) is not None:
                self._outbox.remove(record.id)
            if item is not None:
                for later in self._outbox.of_node(node):
                    if later.id > record.id and later.change.kind in _BASED and later.state is not State.SENDING:
                        self._outbox.update(_rebased(later, item))
                for other in self._outbox.taking(node):
                    if other.state is not State.SENDING and not other.change.fields.exchange:
                        fields = replace(other.change.fields, over=version_of(item))
                        self._outbox.update(replace(other, change=replace(other.change, fields=fields)))
            self._outbox.afterwards(lambda: self._forget(record))

    # --- unlinked files that are still open -----------------------------------------------------------------------

    def let_go(self, node: Number, *, still_open: bool) -> None:
        """No name leads to the node any more: open handles keep its newest content, else it is dropped. What is on its
        way, or may have arrived, ends by itself.
        """
        records = [record for record in self.records(node) if record.quiet]
        with self._outbox.together():
            for record in records:
                self._outbox.remove(record.id)
            self._outbox.afterwards(lambda: self._end(node, records, still_open))

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
        with self._outbox.together():
            self._drop(record)

    def _drop(self, record: Record) -> None:
        if self._outbox.get(record.id) is not None:
            self._outbox.remove(record.id)
        self._outbox.afterwards(lambda: self._forget(record))

    def _forget(self, record: Record) -> None:
        """Open handles read on from the file only through `of_node`, which finds it no more."""
        assert record.staged is not None
        self.under_way.forget(record.id)
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


_BASED = frozenset({ChangeKind.CONTENT, ChangeKind.DELETE})
"""Kinds whose base is the version that they replace."""


def base_of(record: Record) -> ContentRef | None:
    """What the holes of a record are filled from."""
    fields = record.change.fields
    if fields.base_id is None:
        return None
    return ContentRef(fields.base_id, fields.base_bytes, fields.base_version or record.change.base)


def version_of(item: Item) -> Version | None:
    """What a change of the content is conditional on."""
    return item.version or (Version(item.id) if item.id is not None else None)


def _rebased(record: Record, item: Item) -> Record:
    """A change of a node whose content arrived as `item`: it replaces that, and its holes are the same there."""
    if record.change.kind is not ChangeKind.CONTENT:
        return replace(record, change=replace(record.change, base=version_of(item)))
    fields = replace(record.change.fields, parent=None, name=None, over=None, over_node=None, replacing=None)
    if fields.base_id is not None and item.id is not None:
        fields = replace(fields, base_id=item.id, base_bytes=item.size_bytes, base_version=None)
    return replace(record, change=replace(record.change, base=version_of(item), fields=fields))
