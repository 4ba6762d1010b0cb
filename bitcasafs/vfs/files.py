"""Open files: reading, writing, sealing. Content only; names are `names`, attributes `attributes`.

A write goes to staged content and is acknowledged when it is there; flush of a dirty handle and fsync seal a
generation, which the scheduler sends after the last close. A read looks at staged content first, then at the version
that was open. Waits: `read` and `write` for the network or a copy where they say so, `fsync` for the disk; none of them
waits until the portal has what was written.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import trio

from bitcasafs.errors import BadHandle, BitcasaError, IsFolder, NotFound, Stale
from bitcasafs.values.items import Attributes, Kind
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.entry import Handle, Opened
from bitcasafs.vfs.handles import FileHandle
from bitcasafs.vfs.laying import laid_over
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number, Record, State
from bitcasafs.writing.staging import StagedFile

log = logging.getLogger(__name__)


class Files:
    def __init__(self, core: Core) -> None:
        self._nodes, self._handles, self._tree = core.nodes, core.handles, core.tree
        self._contents, self._outbox, self._scheduler = core.contents, core.outbox, core.scheduler
        self._make_reader, self._now_ns = core.make_reader, core.now_ns
        self._space = core.space

    # --- open and close ---

    async def open(self, number: Number, flags: int) -> Opened:
        """IsFolder; NotFound when the file is neither here nor on the portal. Truncates with O_TRUNC.

        Stale when another machine's version took the name while this one was open: on ESTALE the kernel looks the
        path up again by itself, unseen by the application (measured).
        """
        node = self._nodes[number]
        if node.superseded:
            raise Stale("the name leads to a newer version by now")
        if node.kind is Kind.FOLDER:
            raise IsFolder("a folder cannot be opened as a file")
        if node.content is None and self._contents.of_node(number) is None:
            raise NotFound("the content of this file is not known")
        handle = self._handles.add(FileHandle.with_flags(node, flags))
        if flags & os.O_TRUNC:
            try:
                await self.resize(node, 0, self._handles.file(handle))
            except BaseException:
                await self.release(handle)
                raise
        # Unchanged: keep them. Off, an open waits in the kernel behind a stalled reader of the same file (measured).
        keep, node.pages_valid = node.pages_valid, True
        return Opened(handle, keep_pages=keep)

    def created(self, node: Node, flags: int) -> Opened:
        """A handle on a file that was made this moment: dirty, so that its first flush seals the empty content."""
        handle = FileHandle.with_flags(node, flags)
        handle.dirty = True
        return Opened(self._handles.add(handle), keep_pages=False)

    async def flush(self, handle: Handle) -> None:
        """close(2) was called on one of the handle's descriptors: what was written through it is safe from here on.

        Raises a waiting problem of the file, once.
        """
        opened = self._handles.file(handle)
        if opened.dirty:
            self._seal(opened.node)
            opened.dirty = False
        self._raise_problem(opened.node)

    async def fsync(self, handle: Handle, data_only: bool) -> None:
        """Durable on this machine: staged file, then the outbox. `data_only` makes no difference."""
        opened = self._handles.file(handle)
        self._seal(opened.node)
        opened.dirty = False
        record = self._contents.record(opened.node.number)
        if record is not None and not record.synced:
            staged = self._contents.staged(record)
            await staged.sync()
            current = self._outbox.get(record.id)
            if current is not None and current.generation == record.generation:
                self._outbox.update(replace(current, synced=current.state is not State.OPEN))
        await trio.to_thread.run_sync(self._outbox.sync)
        self._raise_problem(opened.node)

    async def release(self, handle: Handle) -> None:
        """The last descriptor is gone. Seals what came after the last flush: pages written through mmap."""
        released = self._handles.release(handle)
        node = released.node
        try:
            if not node.writers:
                self._seal(node)
        finally:
            if not node.openers:
                self._contents.end_orphan(node.number)
                self._nodes.closed(node)
            self._scheduler.wake()

    def seal_all(self) -> None:
        """The kernel is gone: every open file is as good as closed."""
        for handle in self._handles.files():
            try:
                self._seal(handle.node)
            except (BitcasaError, OSError) as error:  # one that cannot be sealed must not keep the others from it
                log.warning("a file could not be sealed: %s", error)

    def _seal(self, node: Node) -> None:
        record = self._contents.record(node.number)
        if record is None or record.state is not State.OPEN:
            return
        attributes = record.change.fields.attributes
        if node.modified_ns is not None:
            attributes = laid_over(attributes, Attributes(mtime_ns=node.modified_ns, ctime_ns=node.modified_ns))
        self._contents.seal(record, attributes)
        node.modified_ns = None

    def _raise_problem(self, node: Node) -> None:
        problem, node.problem = node.problem, None
        if problem is not None:
            raise problem

    # --- reading ---

    async def read(self, handle: Handle, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Waits for the network when they are not here."""
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
            for start, stop in holes:
                data = await opened.read_with(base, self._make_reader).read(start, stop)
                again = self._contents.of_node(node.number)
                if again is not None and again[0] is staged:
                    staged.fill(start, data)
        content = node.content
        if content is None:
            raise NotFound("the content of this file is not known")
        return await opened.read_with(content, self._make_reader).read(offset, offset + size)

    # --- writing ---

    async def write(self, handle: Handle, offset: int, data: bytes) -> int:
        """Answers how much of `data` is staged: less than all when the disk became full in the middle, NoSpace when
        nothing is. Waits only while a copy of what is being sent is made, and, at most a second, near a full disk.
        """
        opened = self._handles.file(handle)
        if not opened.writable:
            raise BadHandle("the file was not opened for writing")
        await self._space.admit(len(data))
        staged = await self._for_writing(opened.node)
        # The kernel sends O_APPEND writes at the size it believes; another handle may have appended since.
        written = staged.write(staged.size_bytes if opened.append else offset, data)
        opened.dirty = True
        opened.node.modified_ns = self._now_ns()
        return written

    async def resize(self, node: Node, size_bytes: int, handle: FileHandle | None = None) -> None:
        """truncate(2): cut, or extend with zeros. Without a handle it is complete, and sealed, on return."""
        if node.kind is Kind.FOLDER:
            raise IsFolder("a folder has no size")
        staged = await self._for_writing(node, size_bytes)
        staged.truncate(size_bytes)
        node.modified_ns = self._now_ns()
        if handle is not None:
            handle.dirty = True
        elif not node.writers:
            self._seal(node)

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
            staged = await self._contents.writable(record)
            if staged is not None:
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
