"""How often, how long and how much: every call of a remote counted, told as one frozen snapshot.

A wrapper; the outermost, so that it sees what callers see: waits for a free connection and repeats included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from bitcasafs.errors import BitcasaError
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Place, Put


@dataclass(frozen=True, slots=True)
class CallStatistics:
    """Of one kind of call: how many ended, how many run now, seconds in all, content bytes, errors by their kind."""

    calls: int = 0
    running: int = 0
    seconds: float = 0.0
    content_bytes: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True)
class RemoteStatistics:
    """By kind of call: connect, profile, roots, list, look, fetch, store, apply."""

    kinds: Mapping[str, CallStatistics]


class _Tally:
    """The changing side of one CallStatistics."""

    def __init__(self) -> None:
        self.calls = self.running = self.content_bytes = 0
        self.seconds = 0.0
        self.errors: Counter[str] = Counter()

    def snapshot(self) -> CallStatistics:
        return CallStatistics(self.calls, self.running, self.seconds, self.content_bytes, dict(self.errors))


class TimingRemote:
    """Counts the calls of `remote`. `clock` gives seconds."""

    def __init__(self, remote: Remote, *, clock: Callable[[], float] = trio.current_time) -> None:
        self._remote = remote
        self._clock = clock
        self._tallies = {
            kind: _Tally() for kind in ("connect", "profile", "roots", "list", "look", "fetch", "store", "apply")
        }

    def statistics(self) -> RemoteStatistics:
        return RemoteStatistics({kind: tally.snapshot() for kind, tally in self._tallies.items()})

    @contextmanager
    def _timed(self, kind: str) -> Iterator[_Tally]:
        tally = self._tallies[kind]
        began = self._clock()
        tally.running += 1
        try:
            yield tally
        except BitcasaError as error:
            tally.errors[type(error).__name__] += 1
            raise
        finally:
            tally.running -= 1
            tally.calls += 1
            tally.seconds += self._clock() - began

    @property
    def capabilities(self) -> Capabilities:
        return self._remote.capabilities

    async def connect(self) -> Capabilities:
        with self._timed("connect"):
            return await self._remote.connect()

    async def profile(self) -> Profile:
        with self._timed("profile"):
            return await self._remote.profile()

    async def roots(self) -> Listing:
        with self._timed("roots"):
            return await self._remote.roots()

    async def list(self, folder: Address) -> Listing:
        with self._timed("list"):
            return await self._remote.list(folder)

    async def look(self, target: Address | Place) -> Item:
        with self._timed("look"):
            return await self._remote.look(target)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        with self._timed("fetch") as tally:

            def counted(offset: int, data: bytes) -> None:
                tally.content_bytes += len(data)
                sink(offset, data)

            await self._remote.fetch(content, start, stop, counted)

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        with self._timed("store") as tally:
            item = await self._remote.store(put, source, resume=resume, on_step=on_step, progress=progress)
            tally.content_bytes += put.size_bytes
            return item

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        with self._timed("apply") as tally:
            outcomes = await self._remote.apply(operations)
            for outcome, (operation, _) in zip(outcomes, operations, strict=True):
                if outcome.error is not None:
                    tally.errors[type(outcome.error).__name__] += 1
                elif isinstance(operation, Put):
                    tally.content_bytes += operation.size_bytes
            return outcomes

    async def aclose(self) -> None:
        await self._remote.aclose()
