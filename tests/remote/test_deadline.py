"""What somebody waits for is answered or fails within the time-out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from bitcasafs.errors import TimedOut
from bitcasafs.remote.deadline import DeadlineRemote
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Sink, Source
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Address, Listing
from bitcasafs.values.operations import Operation


class SlowRemote(MemoryRemote):
    """Waits `seconds` before each answer, and between two pieces of a fetch."""

    def __init__(self, seconds: float) -> None:
        super().__init__(MemoryDrive())
        self.seconds = seconds

    async def connect(self) -> Capabilities:
        await trio.sleep(self.seconds)
        return await super().connect()

    async def list(self, folder: Address) -> Listing:
        await trio.sleep(self.seconds)
        return await super().list(folder)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        for offset in range(start, stop):
            await trio.sleep(self.seconds)
            sink(offset, b"x")

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        await trio.sleep(self.seconds)
        return await super().apply(operations)


async def test_a_question_that_takes_too_long_fails_in_time(autojump_clock: trio.abc.Clock) -> None:
    slow = DeadlineRemote(SlowRemote(60), 15)
    began = trio.current_time()
    with pytest.raises(TimedOut, match="within 15 s") as caught:
        await slow.list(Address("/"))
    assert trio.current_time() - began == 15
    assert caught.value.applied is False


async def test_a_change_that_takes_too_long_may_have_happened(autojump_clock: trio.abc.Clock) -> None:
    with pytest.raises(TimedOut) as caught:
        await DeadlineRemote(SlowRemote(60), 15).apply([])
    assert caught.value.applied is None


async def test_a_fetch_that_moves_may_take_as_long_as_it_needs(autojump_clock: trio.abc.Clock) -> None:
    got: list[int] = []
    await DeadlineRemote(SlowRemote(14), 15).fetch(ContentRef("x", 20), 0, 20, lambda offset, data: got.append(offset))
    assert got == list(range(20))


async def test_a_fetch_that_stands_still_fails_in_time(autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()
    with pytest.raises(TimedOut):
        await DeadlineRemote(SlowRemote(16), 15).fetch(ContentRef("x", 20), 0, 20, lambda offset, data: None)
    assert trio.current_time() - began == 15


async def test_what_is_quick_is_not_changed(autojump_clock: trio.abc.Clock) -> None:
    quick = DeadlineRemote(SlowRemote(1), 15)
    root = (await quick.roots()).items[0]
    assert (await quick.list(root.address)).items == ()
