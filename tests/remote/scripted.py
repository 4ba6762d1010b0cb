"""A remote that fails as a test says before it does what the one behind it does."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import trio

from bitcasafs.errors import BitcasaError
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Put


class ScriptedRemote:
    """`fail[kind]` are errors to raise, one a call, first to last; `after` True: once the call has taken effect.

    `calls` are the kinds in order, `keys` the idempotency keys that came with changes, `running` and `most` how many
    calls run now and ran at once; each call waits `seconds`.
    """

    def __init__(self, remote: Remote, *, seconds: float = 0) -> None:
        self.remote = remote
        self.fail: defaultdict[str, deque[BitcasaError]] = defaultdict(deque)
        self.fail_after: defaultdict[str, deque[BitcasaError]] = defaultdict(deque)
        self.calls: list[str] = []
        self.keys: list[object] = []
        self.resumed: list[ReplaceStep | None] = []
        self.seconds = seconds
        self.running = 0
        self.most = 0

    async def _begin(self, kind: str) -> None:
        self.calls.append(kind)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.running -= 1
        if self.fail[kind]:
            raise self.fail[kind].popleft()

    def _end(self, kind: str) -> None:
        if self.fail_after[kind]:
            raise self.fail_after[kind].popleft()

    @property
    def capabilities(self) -> Capabilities:
        return self.remote.capabilities

    async def connect(self) -> Capabilities:
        await self._begin("connect")
        return await self.remote.connect()

    async def profile(self) -> Profile:
        await self._begin("profile")
        return await self.remote.profile()

    async def roots(self) -> Listing:
        await self._begin("roots")
        return await self.remote.roots()

    async def list(self, folder: Address) -> Listing:
        await self._begin("list")
        return await self.remote.list(folder)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        """An error planned for after comes in the middle: half of the bytes asked for were handed on."""
        await self._begin("fetch")
        if self.fail_after["fetch"]:
            await self.remote.fetch(content, start, (start + stop) // 2, sink)
            self._end("fetch")
        await self.remote.fetch(content, start, stop, sink)

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        self.keys.append(put.key)
        self.resumed.append(resume)
        await self._begin("store")
        if self.fail_after["store"] and on_step is not None:
            on_step(ReplaceStep("aside", uploaded=True, deleted=False))
            self._end("store")
        item = await self.remote.store(put, source, on_step=on_step, progress=progress)
        self._end("store")
        return item

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        self.keys.extend(operation.key for operation, _ in operations)
        await self._begin("apply")
        outcomes = await self.remote.apply(operations)
        self._end("apply")
        return outcomes

    async def aclose(self) -> None:
        await self.remote.aclose()
