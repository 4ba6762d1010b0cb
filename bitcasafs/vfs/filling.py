"""Partly written files are completed in the background: their holes are fetched before the version below is gone.

Who uses: `files`, at each write into a file that is not wholly here, and before one is opened for that. One task a
staged file, in the nursery of the file system; two fetch at a time. It ends when the file is whole, unlinked, cut to
nothing, sent or dropped; what it could not fetch is fetched by the sender, and who writes is told of nothing.
"""

from __future__ import annotations

import logging
from weakref import WeakSet

import trio

from bitcasafs.errors import BaseGone, BitcasaError
from bitcasafs.reading.bases import Bases
from bitcasafs.remote.interface import ContentRef
from bitcasafs.remote.reach import ReachRemote
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import Number, State
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.space import Space
from bitcasafs.writing.staging import StagedFile

log = logging.getLogger(__name__)

BEGIN_SECONDS = 0.5
"""A program that writes all of a small file without cutting it first is done by then: nothing is fetched in vain."""
AGAIN_SECONDS = 10.0
"""After a failure, and while the sender fetches."""
RANGE_BYTES = 4 << 20
"""Most that one request asks for: what was written meanwhile behind it is not fetched."""
AT_ONCE = 2
"""Readers and uploads share the link."""


class Filling:
    def __init__(
        self, contents: Contents, space: Space, bases: Bases, reach: ReachRemote, nursery: trio.Nursery
    ) -> None:
        self._contents, self._space, self._nursery = contents, space, nursery
        self._bases, self._reach = bases, reach
        self._begun: WeakSet[StagedFile] = WeakSet()
        self._limiter = trio.CapacityLimiter(AT_ONCE)

    async def may_begin(self, node: Node, keep_bytes: int | None = None) -> None:
        """A write into the file may leave holes before `keep_bytes` (None: anywhere): return when they could be filled,
        at once when all of that is here, or when the portal answered a moment ago. Unreachable: they could not.
        """
        if not self._reach.answers() and not self._is_here(node, keep_bytes):
            await self._reach.need()

    def _is_here(self, node: Node, keep_bytes: int | None) -> bool:
        found = self._contents.of_node(node.number)
        if found is not None:
            staged, base = found
            holes = staged.holes(0, staged.size_bytes if keep_bytes is None else keep_bytes)
            return base is None or all(self._bases.has(base, *hole) for hole in holes)
        content = node.content
        if content is None:
            return True
        kept = content.size_bytes if keep_bytes is None else min(keep_bytes, content.size_bytes)
        return self._bases.has(content, 0, kept)

    def begin(self, node: Number, staged: StagedFile) -> None:
        """Complete the file, unless that was begun before."""
        if not staged.whole and staged not in self._begun:
            self._begun.add(staged)
            self._nursery.start_soon(self._complete, node, staged)

    async def _complete(self, node: Number, staged: StagedFile) -> None:
        try:
            await trio.sleep(BEGIN_SECONDS)
            while (base := self._base(node, staged)) is not None:
                if not await self._fill_some(node, staged, base):
                    await trio.sleep(AGAIN_SECONDS)
        except BaseGone as error:  # nobody need decide yet: the file may be written as a whole, or removed
            log.info("%s cannot be completed: %s", staged.name, error)
        except Exception:
            log.exception("%s could not be completed", staged.name)

    def _base(self, node: Number, staged: StagedFile) -> ContentRef | None:
        """What the holes of the file come from; None: it has none, or nobody will send it."""
        if staged.whole or self._contents.record(node) is None:
            return None
        try:
            found = self._contents.of_node(node)
        except FileNotFoundError:
            return None
        return found[1] if found is not None and found[0] is staged else None

    async def _fill_some(self, node: Number, staged: StagedFile, base: ContentRef) -> bool:
        """The first hole, or a part of it. False: not now. BaseGone."""
        holes = staged.holes(0, staged.base_limit)
        if not holes:  # it was written as a whole
            staged.note_whole()
            return staged.whole
        start, stop = holes[0]
        stop = min(stop, start + RANGE_BYTES, base.size_bytes)
        if self._is_being_sent(node) or self._space.refuses(stop - start):
            return False

        def fill(offset: int, data: bytes) -> None:
            if self._base(node, staged) is not None:
                staged.fill(offset, data)

        try:
            async with self._limiter:
                await self._bases.fetch(base, start, stop, fill)
        except BaseGone:
            raise
        except (BitcasaError, OSError):  # the network, the session, this disk
            return False
        return True

    def _is_being_sent(self, node: Number) -> bool:
        """The sender fetches, or what is there now is about to become the base."""
        return any(record.state is State.SENDING for record in self._contents.records(node))
