"""How many calls run at once, by class: listings and changes, reads, uploads; each class waits for its own alone.

A wrapper. One class for everything would let eight large uploads keep a listing waiting. It stands inside the retry:
who waits before a repeat holds no place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Place, Put


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls at once. 16 requests at a time are worth a factor of 11 to 14 on anything small over 20 ms; eight
    connections carry 5.6 times what one does where a packet in a thousand is lost (measured)."""

    metadata: int = 16
    reads: int = 16
    uploads: int = 8

    @property
    def connections(self) -> int:
        """What the connection pool must hold so that no call waits there instead of here."""
        return self.metadata + self.reads + self.uploads


class LimitRemote:
    """At most `limits` calls of each class at once; the others wait in the order in which they came."""

    def __init__(self, remote: Remote, limits: Limits) -> None:
        self._remote = remote
        self._metadata = trio.CapacityLimiter(limits.metadata)
        self._reads = trio.CapacityLimiter(limits.reads)
        self._uploads = trio.CapacityLimiter(limits.uploads)

    def resize(self, limits: Limits) -> None:
        """Takes effect at once; what runs above a smaller limit ends by itself."""
        self._metadata.total_tokens = limits.metadata
        self._reads.total_tokens = limits.reads
        self._uploads.total_tokens = limits.uploads

    @property
    def capabilities(self) -> Capabilities:
        return self._remote.capabilities

    async def connect(self) -> Capabilities:
        async with self._metadata:
            return await self._remote.connect()

    async def profile(self) -> Profile:
        async with self._metadata:
            return await self._remote.profile()

    async def roots(self) -> Listing:
        async with self._metadata:
            return await self._remote.roots()

    async def list(self, folder: Address) -> Listing:
        async with self._metadata:
            return await self._remote.list(folder)

    async def look(self, target: Address | Place) -> Item:
        async with self._metadata:
            return await self._remote.look(target)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        async with self._reads:
            await self._remote.fetch(content, start, stop, sink)

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        async with self._uploads:
            return await self._remote.store(put, source, resume=resume, on_step=on_step, progress=progress)

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        carries_content = any(source is not None for _, source in operations)
        async with self._uploads if carries_content else self._metadata:
            return await self._remote.apply(operations)

    async def aclose(self) -> None:
        await self._remote.aclose()
