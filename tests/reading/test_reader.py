"""Reads of one content: exact bytes, fetched ahead, and quick to fail while the portal is away."""

from __future__ import annotations

import pytest
import trio

from bitcasafs.errors import NotFound, Unreachable
from bitcasafs.reading.reader import FAILED_SECONDS, Reader
from bitcasafs.remote.interface import ContentRef, Sink
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive

DATA = bytes(range(256)) * 8192


class OneContent(MemoryRemote):
    """Answers every fetch with `DATA`, or with `error`."""

    def __init__(self) -> None:
        super().__init__(MemoryDrive())
        self.error: Exception | None = None
        self.fetches = 0

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        self.fetches += 1
        await trio.sleep(1)
        if self.error is not None:
            raise self.error
        for offset in range(start, stop, 65536):
            sink(offset, DATA[offset : min(offset + 65536, stop)])


CONTENT = ContentRef("x", len(DATA))


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (100, 300_000), (len(DATA) - 5, len(DATA) + 5), (len(DATA), 9**9)]
)
async def test_a_read_has_exactly_its_bytes(start: int, stop: int, autojump_clock: trio.abc.Clock) -> None:
    async with trio.open_nursery() as nursery:
        reader = Reader(OneContent(), CONTENT, nursery)
        assert await reader.read(start, stop) == DATA[start:stop]
        reader.close()


async def test_after_a_fetch_that_failed_further_reads_fail_at_once_and_then_are_tried_again(
    autojump_clock: trio.abc.Clock,
) -> None:
    remote = OneContent()
    remote.error = Unreachable("no route")
    async with trio.open_nursery() as nursery:
        reader = Reader(remote, CONTENT, nursery)
        began = trio.current_time()
        for offset in range(0, 1 << 20, 1 << 17):
            with pytest.raises(Unreachable):
                await reader.read(offset, offset + 4096)
        assert trio.current_time() - began == 1
        assert remote.fetches == 1
        remote.error = None
        await trio.sleep(FAILED_SECONDS)
        assert await reader.read(0, 4096) == DATA[:4096]
        reader.close()


async def test_what_is_refused_is_not_taken_for_a_portal_that_is_away(autojump_clock: trio.abc.Clock) -> None:
    remote = OneContent()
    remote.error = NotFound("gone")
    async with trio.open_nursery() as nursery:
        reader = Reader(remote, CONTENT, nursery)
        for _ in range(2):
            with pytest.raises(NotFound):
                await reader.read(0, 10)
        assert remote.fetches == 2
        reader.close()
