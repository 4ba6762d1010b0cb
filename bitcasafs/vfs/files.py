"""Open files: reading, writing, sealing. Content only; names are `names`, attributes `attributes`.

A write goes to staged content and is acknowledged when it is there; flush of a dirty handle and fsync seal a
generation, which the scheduler sends after the last close. A read looks at staged content first, then at the version
that was open. Waits: `read` and `write` for the network or a copy where they say so, `fsync` for the disk; for the
portal, until it has what was written, only `flush` and `fsync` where the user asked for it (`Waits`).
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, replace

import trio

from bitcasafs.errors import BadHandle, BitcasaError, IsFolder, NoSpace, NotFound, Refused, Stale
from bitcasafs.reading.bases import GONE, base_gone
from bitcasafs.remote.interface import ContentRef
from bitcasafs.values.items import Attributes, Kind
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.entry import Handle, Opened
from bitcasafs.vfs.filling import Filling
from bitcasafs.vfs.handles import FileHandle
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number, Record, State
from bitcasafs.writing.laying import laid_over
from bitcasafs.writing.staging import StagedFile
from bitcasafs.writing.staying import Activity

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waits:
    """What returns only when the portal has the content: `-o close=remote`, `-o fsync=remote`."""

    close: bool = False
    fsync: bool = False


class Files:
    def __init__(self, core: Core, filling: Filling, waits: Waits = Waits()) -> None:
        self._nodes, self._handles, self._tree = core.nodes, core.handles, core.tree
        self._contents, self._outbox, self._scheduler = core.contents, core.outbox, core.scheduler
        self._make_reader, self._now_ns = core.make_reader, core.now_ns
        self._space, self._deliveries, self._waits = core.space, core.deliveries, waits
        self._filling = filling

    # --- open and close ---

    async def open(self, number: Number, flags: int) -> Opened:
        """IsFolder; NotFound when the file is neither here nor on the portal. Truncates with O_TRUNC.

        Unreachable: for writing, while not all of the file is here and the portal cannot be reached. Stale when another
        machine's version took the name while this one was open: on ESTALE the kernel looks the path up again by itself,
        unseen by the application (measured).
        """
        node = self._openable(number)
        opened = FileHandle.with_flags(node, flags)
        if opened.writable and not flags & os.O_TRUNC:
            await self._filling.may_begin(node)
            self._openable(number)
        handle = self._handles.add(opened)
        if opened.writable:
            self._note_activity(node)
        if flags & os.O_TRUNC:
            try:
                await self.resize(node, 0, self._handles.file(handle))
            except BaseException:
                await self.release(handle)
                raise
        # Unchanged: keep them. Off, an open waits in the kernel behind a stalled reader of the same file (measured).
        keep, node.pages_valid = node.pages_valid, True
        return Opened(handle, keep_pages=keep)

    def _openable(self, number: Number) -> Node:
        node = self._nodes[number]
        if node.superseded:
            raise Stale("the name leads to a newer version by now")
        if node.kind is Kind.FOLDER:
            raise IsFolder("a folder cannot be opened as a file")
        if node.content is None and self._contents.of_node(number) is None:
            raise NotFound("the content of this file is not known")
        return node

    def created(self, node: Node, flags: int) -> Opened:
        """A handle on a file that was made this moment: dirty, so that its first flush seals the empty content."""
        handle = FileHandle.with_flags(node, flags)
        handle.dirty = True
        self._note_activity(node)
        return Opened(self._handles.add(handle), keep_pages=False)

    async def flush(self, handle: Handle) -> None:
        """close(2) was called on one of the handle's descriptors: what was written through it is safe from here on.

        Raises a waiting problem of the file, once. With `-o close=remote` it is on the portal, and errors are those of
        `_delivered`.
        """
        opened = self._handles.file(handle)
        if opened.dirty:
            self.seal(opened.node)
            opened.dirty = False
            if self._waits.close:
                await self._delivered(opened.node)
        self._raise_problem(opened.node)

    async def fsync(self, handle: Handle, data_only: bool) -> None:
        """Durable on this machine: staged file, then the outbox. `data_only` makes no difference. With
        `-o fsync=remote` on the portal as well, and errors are those of `_delivered`.
        """
        opened = self._handles.file(handle)
        self.seal(opened.node)
        opened.dirty = False
        if self._waits.fsync:  # from here on others write to a copy: what is sealed now is what is waited for
            self._deliveries.at_once(record.id for record in self._contents.records(opened.node.number))
        record = self._contents.record(opened.node.number)
        if record is not None and not record.synced:
            staged = self._contents.staged(record)
            await staged.sync()
            current = self._outbox.get(record.id)
            if current is not None and current.generation == record.generation:
                self._outbox.update(replace(current, synced=current.state is not State.OPEN))
        await trio.to_thread.run_sync(self._outbox.sync)
        if self._waits.fsync:
            await self._delivered(opened.node)
        self._raise_problem(opened.node)

    async def release(self, handle: Handle) -> None:
        """The last descriptor is gone. Seals what came after the last flush: pages written through mmap."""
        released = self._handles.release(handle)
        node = released.node
        try:
            if not node.writers:
                node.activity = None
                self.seal(node)
        finally:
            if not node.openers:
                self._contents.end_orphan(node.number)
                self._nodes.closed(node)
            self._scheduler.wake()

    def seal_all(self) -> None:
        """Of every open file what was written up to now counts, as if it were closed."""
        for handle in self._handles.files():
            try:
                self.seal(handle.node)
            except (BitcasaError, OSError) as error:  # one that cannot be sealed must not keep the others from it
                log.warning("a file could not be sealed: %s", error)

    def seal(self, node: Node) -> None:
        """Fix what was written, if anything was. FileNotFoundError, NoSpace: it is not."""
        record = self._contents.record(node.number)
        if record is None or record.state is not State.OPEN:
            return
        attributes = record.change.fields.attributes
        if node.modified_ns is not None:
            attributes = laid_over(attributes, Attributes(mtime_ns=node.modified_ns, ctime_ns=node.modified_ns))
        self._contents.seal(record, attributes)
        node.modified_ns = None

    async def _delivered(self, node: Node) -> None:
        """Wait until the portal has what is sealed, for as long as bytes move; not of an unlinked file, of which it
        gets nothing. TimedOut: none did for the mount's time-out; it stays here and is sent later. Refused: it stays as
        a problem.
        """
        if node.unlinked:
            return
        try:
            await self._deliveries.delivered(node.number)
        except Refused:
            node.problem = None  # told here
            raise

    def _raise_problem(self, node: Node) -> None:
        problem, node.problem = node.problem, None
        if problem is not None:
            raise problem

    # --- reading ---

    async def read(self, handle: Handle, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Waits for the network when they are not here. BaseGone: they are
        to come from a version that is gone.
        """
        opened = self._handles.file(handle)
        if not opened.readable:
            raise BadHandle("the file was not opened for reading")
        node = opened.node
        while (found := self._contents.of_node(node.number)) is not None:
            staged, base = found
            holes = staged.holes(offset, offset + size)
            if not holes:
                return staged.read(offset, offset + size)
            assert base is not None
            pieces = await self._read_holes(opened, base, holes)
            again = self._contents.of_node(node.number)
            if again is not None and again[0] is staged:
                return self._with_pieces(staged, offset, size, pieces)
        content = node.content
        if content is None:
            raise NotFound("the content of this file is not known")
        return await opened.read_with(content, self._make_reader).read(offset, offset + size)

    async def _read_holes(
        self, opened: FileHandle, base: ContentRef, holes: list[tuple[int, int]]
    ) -> list[tuple[int, bytes]]:
        reader = opened.read_with(base, self._make_reader)
        try:
            return [(start, await reader.read(start, stop)) for start, stop in holes]
        except GONE:
            raise base_gone() from None

    def _with_pieces(self, staged: StagedFile, offset: int, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
        """[offset, offset + size) of the file, its holes there from `pieces`, which are kept if there is room."""
        if not self._space.refuses(sum(len(piece) for _, piece in pieces)):
            with contextlib.suppress(NoSpace):
                for start, piece in pieces:
                    staged.fill(start, piece)
        data = bytearray(staged.read(offset, offset + size))
        for start, piece in pieces:
            for first, last in staged.holes(start, start + len(piece)):
                data[first - offset : last - offset] = piece[first - start : last - start]
        return bytes(data)

    # --- writing ---

    async def write(self, handle: Handle, offset: int, data: bytes) -> int:
        """Answers how much of `data` is staged: less than all when the disk became full in the middle, NoSpace when
        nothing is. Waits only while a copy of what is being sent is made, and, at most a second, near a full disk.
        """
        opened = self._handles.file(handle)
        if not opened.writable:
            raise BadHandle("the file was not opened for writing")
        if not data:
            return 0
        await self._space.admit(len(data))
        staged = await self._for_writing(opened.node)
        # The kernel sends O_APPEND writes at the size it believes; another handle may have appended since.
        written = staged.write(staged.size_bytes if opened.append else offset, data)
        opened.dirty = True
        opened.node.modified_ns = self._now_ns()
        self._note_activity(opened.node)
        return written

    async def resize(self, node: Node, size_bytes: int, handle: FileHandle | None = None) -> None:
        """truncate(2): cut, or extend with zeros. Without a handle it is complete, and sealed, on return, and
        Unreachable as for `open`.
        """
        if node.kind is Kind.FOLDER:
            raise IsFolder("a folder has no size")
        if handle is None and size_bytes:
            await self._filling.may_begin(node, size_bytes)
        staged = await self._for_writing(node, size_bytes)
        staged.truncate(size_bytes)
        node.modified_ns = self._now_ns()
        if node.writers:
            self._note_activity(node)
        if handle is not None:
            handle.dirty = True
        elif not node.writers:
            self.seal(node)

    def _note_activity(self, node: Node) -> None:
        """Content of the node waits for its close from here on, or for a pause."""
        now = trio.current_time()
        node.activity = Activity.at(now) if node.activity is None else node.activity.again(now)

    async def _for_writing(self, node: Node, keep_bytes: int | None = None) -> StagedFile:
        """Staged content of the node; of new one at most `keep_bytes` of the present version count (None: all)."""
        while True:
            orphan = self._contents.of_node(node.number) if node.unlinked else None
            if orphan is not None:
                return orphan[0]
            if node.unlinked:
                return self._contents.begin_orphan(node.number, node.content)
            record = self._contents.record(node.number)
            if record is None:
                record = self._begin(node, keep_bytes)
            if keep_bytes is not None and record.staged in self._outbox.perhaps_synced:
                await self._contents.unsync(record)
                continue
            staged = await self._contents.writable(record)
            if staged is not None:
                self._filling.begin(node.number, staged)
                return staged

    def _begin(self, node: Node, limit_bytes: int | None) -> Record:
        # The version of this moment: an earlier content may have arrived since the caller looked.
        present = node.item.size_bytes if node.item else 0
        keep_bytes = present if limit_bytes is None else min(limit_bytes, present)
        content = node.content
        if content is None:
            raise BitcasaError("new content for a file that is neither here nor on the portal")
        fields = Fields(base_id=content.id, base_bytes=content.size_bytes) if keep_bytes else Fields()
        self._tree.remember(node.number)
        change = Change(ChangeKind.CONTENT, node.number, node.version, fields)
        return self._contents.begin(change, node.name, keep_bytes=keep_bytes)
