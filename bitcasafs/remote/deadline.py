"""No question hangs: what somebody waits for is answered, or fails with TimedOut, within the mount's time-out.

A wrapper; outside the retry, so that the repeats count. Questions and small changes have the time-out in all; a fetch
has it between two pieces; a store none, for nobody waits for it but the scheduler, and the adapter ends one that stands
still.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from bitcasafs.errors import TimedOut
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Place, Put

T = TypeVar("T")


class DeadlineRemote:
    """`remote` with at most `seconds` to each answer."""

    def __init__(self, remote: Remote, seconds: float) -> None:
        self._remote = remote
        self._seconds = seconds

    async def _within(self, call: Callable[[], Awaitable[T]], *, applied: bool | None) -> T:
        with trio.move_on_after(self._seconds):
            return await call()
        raise self._too_late(applied)

    def _too_late(self, applied: bool | None) -> TimedOut:
        return TimedOut(f"the portal did not answer within {self._seconds:g} s", applied=applied)

    @property
    def capabilities(self) -> Capabilities:
        return self._remote.capabilities

    async def connect(self) -> Capabilities:
        return await self._within(self._remote.connect, applied=False)

    async def profile(self) -> Profile:
        return await self._within(self._remote.profile, applied=False)

    async def roots(self) -> Listing:
        return await self._within(self._remote.roots, applied=False)

    async def list(self, folder: Address) -> Listing:
        return await self._within(lambda: self._remote.list(folder), applied=False)

    async def look(self, target: Address | Place) -> Item:
        return await self._within(lambda: self._remote.look(target), applied=False)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        with trio.move_on_after(self._seconds) as scope:

            def moving(offset: int, data: bytes) -> None:
                scope.deadline = trio.current_time() + self._seconds
                sink(offset, data)

            await self._remote.fetch(content, start, stop, moving)
            return
        raise self._too_late(False)

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        return await self._remote.store(put, source, resume=resume, on_step=on_step, progress=progress)

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        if any(source is not None for _, source in operations):
            return await self._remote.apply(operations)
        return await self._within(lambda: self._remote.apply(operations), applied=None)

    async def aclose(self) -> None:
        await self._remote.aclose()
