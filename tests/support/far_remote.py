"""A portal in memory that is some time away: every answer takes a while, may get lost, or the portal is away."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence

import trio

from bitcasafs.remote.interface import ContentRef, Outcome, ReplaceStep, Sink, Source
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Place, Put
from tests.support.scripted import away, silent

WAYS_SECONDS = (0.1, 0.3, 0.05, 0.1)
"""There, and back again, in turn: who is stopped in between does not know whether the change took effect, and what was
asked for later may be there first.
"""


class FarRemote(MemoryRemote):
    """One machine's view of `drive`. `is_away`: nothing reaches the portal. `losing`: so many changes take effect
    without an answer. `at_hand`: content is fetched as if it were on this disk, also while the portal is away. `turn`:
    two machines that change one file of a historical portal in the same second may not notice each other, as
    docs/semantics.md has it; they take turns, though what others see of a change in between is seen.
    """

    def __init__(self, drive: MemoryDrive, turn: trio.Lock, *, historical: bool) -> None:
        super().__init__(drive, historical=historical)
        self._turn = turn if historical else contextlib.nullcontext()
        self.is_away = self.at_hand = False
        self.losing = 0
        self._ways = itertools.cycle(WAYS_SECONDS)

    async def _way(self) -> None:
        await trio.sleep(next(self._ways))

    async def _reached(self) -> None:
        if self.is_away:
            await trio.lowlevel.checkpoint()
            raise away()
        await self._way()

    async def profile(self) -> Profile:
        await self._reached()
        return await super().profile()

    async def list(self, folder: Address) -> Listing:
        await self._reached()
        try:
            return await super().list(folder)
        finally:
            await self._way()

    async def look(self, target: Address | Place) -> Item:
        await self._reached()
        try:
            return await super().look(target)
        finally:
            await self._way()

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        if not self.at_hand:
            await self._reached()
        await super().fetch(content, start, stop, sink)

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        await self._reached()
        async with self._turn:
            return await super().store(put, source, resume=resume, on_step=on_step, progress=progress)

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        await self._reached()
        async with self._turn:
            return await super().apply(operations)

    async def _send(self, operation: Operation, source: Source | None) -> Outcome:
        """Each step that others can see is a way there and back."""
        await self._way()
        outcome = await super()._send(operation, source)
        await self._way()
        if self.losing or self.is_away:
            self.losing = max(0, self.losing - 1)
            raise silent()
        return outcome
