"""A drive in memory whose portal does what the test says: refuses, is away, loses answers, takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from bitcasafs.errors import BitcasaError, TimedOut, Unreachable
from bitcasafs.remote.interface import ContentRef, Outcome, ReplaceStep, Sink, Source
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import IdempotencyKey, Item
from bitcasafs.values.operations import Operation, Put


@dataclass(frozen=True, slots=True)
class Request:
    """One change that was asked for, and when (trio's clock)."""

    what: str
    name: str
    key: IdempotencyKey | None
    at: float
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The change takes effect, then this is raised."""

    error: BitcasaError


class Gate:
    """A change waits here, before it takes effect, until it is opened; then it fails with `step`, if there is one."""

    def __init__(self) -> None:
        self.reached, self.opened = trio.Event(), trio.Event()
        self.step: BitcasaError | None = None

    def open(self) -> None:
        self.opened.set()

    async def passed(self) -> None:
        self.reached.set()
        await self.opened.wait()


Step = BitcasaError | Lost | Gate | None


def away() -> Unreachable:
    return Unreachable("the portal is away", applied=False)


def silent() -> TimedOut:
    return TimedOut("no answer came", applied=None)


class ScriptedRemote(MemoryRemote):
    """`script` is used up from the left, a step a change; when it is empty `otherwise` is asked (None: it works)."""

    def __init__(self, drive: MemoryDrive | None = None, *script: Step, historical: bool = False) -> None:
        super().__init__(MemoryDrive() if drive is None else drive, historical=historical)
        self.script = list(script)
        self.otherwise: Callable[[str], Step] = lambda name: None
        self.requests: list[Request] = []
        self.at_once = self.most_at_once = 0
        self.names_at_once: list[str] = []
        self.send_seconds = 0.0
        self.fetched: list[tuple[int, int]] = []
        self.before_fetch: Gate | None = None
        self.after_store: Callable[[], object] = lambda: None

    @property
    def stored(self) -> dict[str, bytes]:
        """Contents by the last part of their path."""
        return {node.name: self.drive.contents[str(node.version)].data for node in self.drive.files}

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        self.fetched.append((start, stop))
        if self.before_fetch is not None:
            await self.before_fetch.passed()
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
        with self._on_its_way([(put, source)]):
            await trio.sleep(self.send_seconds)
            lost = await self._play(put.name)
            item = await super().store(put, source, resume=resume, on_step=on_step, progress=progress)
        self.after_store()
        if lost is not None:
            raise lost
        return item

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        """In a batch with content each operation has its own step and outcome; a change alone raises its error."""
        contents = [(put, source) for put, source in operations if isinstance(put, Put) and source is not None]
        if contents:
            assert len(contents) == len(operations)
            with self._on_its_way(contents):
                await trio.sleep(self.send_seconds)
                return [await self._one_of_many(*content) for content in contents]
        ((operation, _),) = operations
        name = str(getattr(operation, "name", ""))
        self.requests.append(Request(type(operation).__name__, name, operation.key, trio.current_time()))
        lost = await self._play(name)
        outcomes = await super().apply(operations)
        if lost is not None:
            raise lost
        return outcomes

    async def _one_of_many(self, put: Put, source: Source) -> Outcome:
        try:
            lost = await self._play(put.name)
        except BitcasaError as error:
            return Outcome(error=error)
        (outcome,) = await super().apply([(put, source)])
        return outcome if lost is None else Outcome(error=lost)

    @contextmanager
    def _on_its_way(self, contents: Sequence[tuple[Put, Source]]) -> Iterator[None]:
        """One upload: what is sent stays the same, and of no file there are two at once."""
        before = [source.read(0, source.size_bytes) for _, source in contents]
        names = [put.name for put, _ in contents]
        for put, data in zip((put for put, _ in contents), before, strict=True):
            self.requests.append(Request("store", put.name, put.key, trio.current_time(), data))
        assert not set(names) & set(self.names_at_once), "two contents of one file at once"
        assert len(set(names)) == len(names), "two contents of one file in one request"
        self.names_at_once.extend(names)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
            after = [source.read(0, source.size_bytes) for _, source in contents]
            assert after == before, "the content changed while it was sent"
        finally:
            self.at_once -= 1
            for name in names:
                self.names_at_once.remove(name)

    async def _play(self, name: str) -> BitcasaError | None:
        step = self.script.pop(0) if self.script else self.otherwise(name)
        if isinstance(step, Gate):
            await step.passed()
            step = step.step
        if isinstance(step, BitcasaError):
            raise step
        return step.error if isinstance(step, Lost) else None
