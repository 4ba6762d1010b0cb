"""The reader against a portal that delivers in odd pieces, slowly, and not always."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bitcasafs.errors import BitcasaError, Truncated, Unreachable
from bitcasafs.reading.reader import FAILED_SECONDS, KEPT, Reader
from bitcasafs.reading.window import FIRST_BYTES, LARGEST_BYTES
from bitcasafs.remote.interface import ContentRef, Sink
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive

K, M = 1 << 10, 1 << 20
LARGE = bytes(range(251)) * (4 * M // 251)


class Portal(MemoryRemote):
    """One content in pieces of `piece` bytes, each `seconds` after the one before."""

    def __init__(self, data: bytes, *, piece: int = 64 * K, seconds: float = 0.001) -> None:
        super().__init__(MemoryDrive())
        self.data, self.piece, self.seconds = data, piece, seconds
        self.asked: list[tuple[int, int]] = []
        self.at_once = 0
        self.delivered = 0
        self.fail: Callable[[int], BitcasaError | None] = lambda position: None
        self.repeats = 0
        """Bytes before the end that each piece says once more, as a fetch that is repeated does."""

    @property
    def content(self) -> ContentRef:
        return ContentRef("content", len(self.data))

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        self.asked.append((start, stop))
        self.at_once += 1
        try:
            position = start
            while position < stop:
                await trio.sleep(self.seconds)
                error = self.fail(position)
                if error is not None:
                    raise error
                upper = min(stop, position + self.piece)
                lower = max(start, position - self.repeats)
                sink(lower, self.data[lower:upper])
                self.delivered += upper - position
                position = upper
        finally:
            self.at_once -= 1


READS = st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 150_000)), min_size=1, max_size=15)


@given(READS, st.integers(1, 200_000), st.integers(0, 300), st.booleans())
@settings(max_examples=120)
def test_any_reads_give_the_bytes_of_the_content(
    reads: list[tuple[int, int]], piece: int, repeats: int, together: bool
) -> None:
    data = LARGE[:380_000]
    portal = Portal(data, piece=max(piece, 2000))
    portal.repeats = repeats

    async def play() -> None:
        async with trio.open_nursery() as fetches:
            reader = Reader(portal, portal.content, fetches)

            async def read(start: int, length: int) -> None:
                assert await reader.read(start, start + length) == data[start : start + length]

            if together:
                async with trio.open_nursery() as readers:
                    for start, length in reads:
                        readers.start_soon(read, start, length)
            else:
                for start, length in reads:
                    await read(start, length)
            reader.close()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
    assert portal.at_once == 0


async def read_all(reader: Reader, size: int, step: int = 128 * K) -> bytes:
    data = b""
    while len(data) < size:
        data += await reader.read(len(data), len(data) + step)
    return data


async def test_a_row_of_reads_fetches_every_byte_once(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        assert await read_all(reader, len(LARGE)) == LARGE
        assert portal.delivered == len(LARGE)
        assert sum(stop - start for start, stop in portal.asked) == len(LARGE)


async def test_a_row_of_reads_is_fetched_before_it_is_asked_for(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE, piece=128 * K, seconds=1)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        await reader.read(0, 128 * K)
        assert portal.asked == [(0, FIRST_BYTES)]  # one read is no row yet
        await reader.read(128 * K, 256 * K)
        await trio.testing.wait_all_tasks_blocked()
        assert portal.asked[1][0] == FIRST_BYTES
        await trio.sleep(60)
        begun = trio.current_time()
        await reader.read(256 * K, 384 * K)
        assert trio.current_time() == begun


async def test_a_small_read_somewhere_fetches_little(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        for place in (3 * M, M + M // 2, 3 * M - 77 * K, 2 * M + 5):
            assert await reader.read(place, place + 4 * K) == LARGE[place : place + 4 * K]
        await trio.sleep(10)
        assert portal.delivered <= 4 * 4 * K + FIRST_BYTES
        assert max(stop - start for start, stop in portal.asked) <= FIRST_BYTES


async def test_parallel_reads_of_one_place_are_one_fetch(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        async with trio.open_nursery() as readers:
            for _ in range(20):
                readers.start_soon(reader.read, 2 * M, 2 * M + 4 * K)
        assert portal.asked == [(2 * M, 2 * M + 4 * K)]


async def test_more_parallel_reads_than_chunks_are_kept_all_get_their_bytes(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE, seconds=1)
    found: dict[int, bytes] = {}
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)

        async def read(place: int) -> None:
            found[place] = await reader.read(place, place + 4 * K)

        async with trio.open_nursery() as readers:
            for place in range(0, 4 * M - M // 2, 300 * K):
                readers.start_soon(read, place)
    assert len(found) > KEPT
    assert all(data == LARGE[place : place + 4 * K] for place, data in found.items())


async def test_memory_is_bounded_whatever_is_read(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(bytes(64 * M), piece=M)
    largest = 0
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        for place in [*range(0, 40 * M, 128 * K), *range(60 * M, 0, -3 * M), *range(10 * M, 60 * M, 128 * K)]:
            await reader.read(place, place + 128 * K)
            largest = max(largest, reader.held_bytes)
        assert LARGEST_BYTES < largest <= KEPT * LARGEST_BYTES
        reader.close()


async def test_what_is_not_needed_any_more_is_fetched_no_further(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(bytes(64 * M), piece=64 * K, seconds=1)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        for place in range(0, 2 * M, 128 * K):
            await reader.read(place, place + 128 * K)
        for place in range(20 * M, 60 * M, 5 * M):
            await reader.read(place, place + 4 * K)
        assert portal.at_once == 0  # the large chunks of the row were let go with their fetches


async def test_after_an_error_the_next_read_asks_again(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE)
    portal.fail = lambda position: Unreachable("reset") if position >= 128 * K else None
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        assert await reader.read(0, 100 * K) == LARGE[: 100 * K]
        with pytest.raises(Unreachable):
            await reader.read(100 * K, 228 * K)
        portal.fail = lambda position: None
        await trio.sleep(FAILED_SECONDS)
        assert await reader.read(100 * K, 228 * K) == LARGE[100 * K : 228 * K]


async def test_an_error_that_nobody_waited_for_is_nobodys_error(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        portal.fail = lambda position: Unreachable("reset") if position >= 256 * K else None
        await reader.read(0, 128 * K)
        await reader.read(128 * K, 256 * K)
        await trio.sleep(10)  # what is fetched ahead has failed by now
        assert len(portal.asked) == 2
        portal.fail = lambda position: None
        assert await reader.read(256 * K, 384 * K) == LARGE[256 * K : 384 * K]


async def test_a_short_answer_is_an_error_and_not_a_short_file(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE[:1000])
    async with trio.open_nursery() as nursery:
        reader = Reader(ShortOf(portal, 500), portal.content, nursery)
        with pytest.raises(Truncated):
            await reader.read(0, 1000)
        await trio.sleep(FAILED_SECONDS)
        assert await reader.read(0, 500) == LARGE[:500]


class ShortOf(MemoryRemote):
    def __init__(self, portal: Portal, length: int) -> None:
        super().__init__(MemoryDrive())
        self.portal, self.length = portal, length

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        await self.portal.fetch(content, start, min(stop, self.length), sink)


async def test_closing_ends_what_is_fetched(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(bytes(64 * M), seconds=1)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        await reader.read(0, 128 * K)
        await reader.read(128 * K, 256 * K)
        await trio.testing.wait_all_tasks_blocked()
        assert portal.at_once == 1
        reader.close()
        await trio.testing.wait_all_tasks_blocked()
        assert portal.at_once == 0


async def test_a_read_that_waits_when_the_reader_is_closed_gets_its_bytes(autojump_clock: trio.abc.Clock) -> None:
    """The content of an open file becomes another while one of its readers waits: that one must not wait for ever."""
    portal = Portal(LARGE, seconds=1)
    found: list[bytes] = []
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)

        async def read() -> None:
            found.append(await reader.read(0, 700 * K))

        nursery.start_soon(read)
        await trio.sleep(2.5)
        reader.close()
    assert found == [LARGE[: 700 * K]]
    assert portal.at_once == 0


async def test_a_read_that_is_given_up_leaves_the_others_theirs(autojump_clock: trio.abc.Clock) -> None:
    portal = Portal(LARGE, seconds=1)
    async with trio.open_nursery() as nursery:
        reader = Reader(portal, portal.content, nursery)
        found: list[bytes] = []

        async def read() -> None:
            found.append(await reader.read(0, 200 * K))

        nursery.start_soon(read)
        with trio.move_on_after(1.5):
            await reader.read(0, 256 * K)
        assert found == []
        await trio.sleep(60)
        assert found == [LARGE[: 200 * K]]
