"""Partly written files are completed in the background: their holes are fetched before the version below is gone.

Who uses: `files`, at each write into a file that is not wholly here. One task a staged file, in the nursery of the file
system; two fetch at a time. It ends when the file is whole, unlinked, cut to nothing, sent or dropped; what it could
not fetch is fetched by the sender. Nothing here raises: who writes is told of nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from weakref import WeakSet

import trio

from bitcasafs.errors import BaseGone, BitcasaError
from bitcasafs.remote.interface import ContentRef, Sink
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

Fetch = Callable[[ContentRef, int, int, Sink], Awaitable[None]]


class Filling:
    def __init__(self, contents: Contents, space: Space, fetch: Fetch, nursery: trio.Nursery) -> None:
        """`fetch`: as `reading.bases.Bases.fetch`."""
        self._contents, self._space, self._fetch, self._nursery = contents, space, fetch, nursery
        self._begun: WeakSet[StagedFile] = WeakSet()
        self._limiter = trio.CapacityLimiter(AT_ONCE)

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
                await self._fetch(base, start, stop, fill)
        except BaseGone:
            raise
        except (BitcasaError, OSError):  # the network, the session, this disk
            return False
        return True

    def _is_being_sent(self, node: Number) -> bool:
        """The sender fetches, or what is there now is about to become the base."""
        return any(record.state is State.SENDING for record in self._contents.records(node))
