"""Room for what is staged: the rule as a table, and who waits how long in virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.disk import KEEP_FREE_PARTS, Disk, disk_of
from bitcasafs.errors import NoSpace
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.vfs.entry import Wanted
from bitcasafs.writing.space import (
    BAND_SECONDS,
    LOOK_BYTES,
    LOOK_SECONDS,
    MOST_BAND_BYTES,
    MOST_WAIT_SECONDS,
    Decision,
    Space,
    band_bytes,
    decide,
)
from tests.support.machine import machine

MIB, GIB = 1 << 20, 1 << 30
WRITE = 128 << 10
KEEP = 100 * MIB
FOLDER = Path("/staged")
AT_ONCE, REFUSED, REFUSED_AFTER_A_WAIT = Decision(), Decision(refused=True), Decision(1.0, refused=True)

# --- the rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "keep_free", "wanted", "rate", "decision"),
    [
        pytest.param(900 * GIB, GIB, WRITE, 0, AT_ONCE, id="an empty disk"),
        pytest.param(2 * KEEP + WRITE, KEEP, WRITE, 0, AT_ONCE, id="the band is reached, not entered"),
        pytest.param(KEEP + KEEP // 2 + WRITE, KEEP, WRITE, 10 * WRITE, Decision(0.05), id="half of the band"),
        pytest.param(KEEP + WRITE, KEEP, WRITE, 10 * WRITE, Decision(0.1), id="the last room: as fast as is sent"),
        pytest.param(KEEP + WRITE, KEEP, WRITE, 10, Decision(1.0), id="never longer than a second"),
        pytest.param(KEEP + MIB, KEEP, MIB, 0, Decision(0.6), id="nothing is sent: half a minute for the band"),
        pytest.param(KEEP + WRITE - 1, KEEP, WRITE, 0, REFUSED, id="no room, and none will be"),
        pytest.param(KEEP + WRITE - 1, KEEP, WRITE, 1, REFUSED_AFTER_A_WAIT, id="no room, but there may be some soon"),
        pytest.param(0, KEEP, 1, 0, REFUSED, id="others have filled the disk"),
        pytest.param(0, KEEP, 1, 10 * GIB, REFUSED_AFTER_A_WAIT, id="others have filled it while much is sent"),
        pytest.param(WRITE, 0, WRITE, 0, AT_ONCE, id="nothing is to stay free: to the last byte at full speed"),
        pytest.param(WRITE - 1, 0, WRITE, 0, REFUSED, id="nothing is to stay free, and nothing is"),
        pytest.param(7 * GIB, 5 * GIB, WRITE, 0, AT_ONCE, id="the band is a gibibyte at most"),
    ],
)
def test_what_becomes_of_a_write(free: int, keep_free: int, wanted: int, rate: float, decision: Decision) -> None:
    told = decide(Disk(free, 1000 * GIB), keep_free, wanted, rate)
    assert told.refused is decision.refused
    assert told.after_seconds == pytest.approx(decision.after_seconds)


SIZES = st.integers(0, 1 << 42)


@given(SIZES, SIZES, st.integers(1, 64 * MIB), st.floats(0, 1e12))
def test_what_is_to_stay_free_does_and_nobody_waits_longer_than_a_second(
    free: int, keep_free: int, wanted: int, rate: float
) -> None:
    told = decide(Disk(free, 1 << 43), keep_free, wanted, rate)
    assert told.refused is (free - wanted < keep_free)
    assert 0 <= told.after_seconds <= MOST_WAIT_SECONDS
    if free - wanted >= keep_free + band_bytes(keep_free):
        assert told == AT_ONCE


@given(st.integers(0, 10 * GIB), st.integers(1, 10 * GIB), st.floats(0, 1e9))
def test_the_less_room_the_longer_the_wait(free: int, less: int, rate: float) -> None:
    more_room, less_room = (
        decide(Disk(here, 100 * GIB), GIB, WRITE, rate).after_seconds for here in (free, max(0, free - less))
    )
    assert less_room >= more_room or free - less - WRITE < GIB


def test_the_band_is_as_wide_as_what_stays_free_at_most_a_gibibyte() -> None:
    assert band_bytes(KEEP) == KEEP
    assert band_bytes(5 * GIB) == MOST_BAND_BYTES == GIB


def test_the_default_is_the_smaller_of_a_gibibyte_and_a_twentieth() -> None:
    assert Disk(0, 10 * GIB).keep_free_bytes(None) == 10 * GIB // KEEP_FREE_PARTS
    assert Disk(0, 100 * GIB).keep_free_bytes(None) == GIB
    assert Disk(0, 100 * GIB).keep_free_bytes(0) == 0


# --- who waits --------------------------------------------------------------------------------------------------------


class Fake:
    """A disk of a tebibyte: what is admitted is taken from it, and `looks` counts who asked."""

    def __init__(self, free: int) -> None:
        self.free, self.looks, self.rate = free, 0, 0.0
        self.error: OSError | None = None

    def look(self, folder: Path) -> Disk:
        assert folder == FOLDER
        self.looks += 1
        if self.error is not None:
            raise self.error
        return Disk(self.free, 1 << 40)

    def space(self, keep_free: int = KEEP, owed: Callable[[], int] = lambda: 0) -> Space:
        return Space(FOLDER, keep_free, lambda: self.rate, owed=owed, look=self.look)

    async def write(self, space: Space, size: int = WRITE) -> float:
        """Seconds that it waited."""
        began = trio.current_time()
        await space.admit(size)
        self.free -= size
        return trio.current_time() - began


async def test_an_empty_disk_is_hardly_ever_looked_at(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(500 * GIB)
    space = disk.space()
    for _ in range(1000):
        assert await disk.write(space) == 0
    assert disk.looks <= 1000 * WRITE // LOOK_BYTES + 1


async def test_what_others_write_is_seen_soon(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(500 * GIB)
    space = disk.space()
    await disk.write(space)
    disk.free = 0
    await trio.sleep(LOOK_SECONDS)
    with pytest.raises(NoSpace):
        await space.admit(1)


async def test_on_an_empty_disk_nobody_gives_up_the_turn() -> None:
    space = Fake(500 * GIB).space()
    with trio.CancelScope() as scope:
        scope.cancel()
        await space.admit(WRITE)  # a checkpoint would raise
    assert not scope.cancelled_caught


async def test_a_writer_comes_to_the_limit_and_not_beyond(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(KEEP + 300 * MIB)
    space = disk.space()
    began = trio.current_time()
    with pytest.raises(NoSpace, match="keep_free"):
        while True:
            await disk.write(space)
            assert disk.free >= KEEP
    assert disk.free - KEEP < WRITE
    assert trio.current_time() - began == pytest.approx(BAND_SECONDS, rel=0.1)


async def test_near_the_limit_it_is_written_as_fast_as_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(2 * KEEP)
    disk.rate = 5.0 * MIB
    space = disk.space()

    async def send() -> None:
        while True:
            await trio.sleep(0.2)
            disk.free += MIB

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with trio.move_on_after(600):
            while True:
                assert await disk.write(space) <= MOST_WAIT_SECONDS
                assert disk.free >= KEEP
        nearly = disk.free
        began, written = trio.current_time(), 0
        while trio.current_time() - began < 60:
            await disk.write(space)
            written += WRITE
        assert written / (trio.current_time() - began) == pytest.approx(disk.rate, rel=0.1)
        assert nearly < KEEP + KEEP // 2
        nursery.cancel_scope.cancel()


async def test_many_writers_are_together_as_slow_as_one(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(KEEP + 50 * MIB)
    disk.rate = 4.0 * MIB
    space = disk.space()
    written = 0

    async def writer() -> None:
        nonlocal written
        while True:
            await space.admit(WRITE)
            written += WRITE

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(writer)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert written / 20 == pytest.approx(2 * disk.rate, rel=0.2)  # in the middle of the band


async def test_room_that_comes_while_a_write_waits_is_taken(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(KEEP)
    disk.rate = 1.0

    async def send() -> None:
        await trio.sleep(0.5)
        disk.free += GIB

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await disk.write(disk.space()) == pytest.approx(MOST_WAIT_SECONDS)


async def test_room_that_goes_while_a_write_waits_is_not(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(KEEP + WRITE)
    space = disk.space()

    async def somebody() -> None:
        await trio.sleep(0.01)
        disk.free = KEEP

    async with trio.open_nursery() as nursery:
        nursery.start_soon(somebody)
        with pytest.raises(NoSpace):
            await space.admit(WRITE)


async def test_a_writer_that_is_cancelled_keeps_nobody_waiting(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(KEEP + MIB)
    disk.rate = 1.0
    space = disk.space()
    with trio.move_on_after(0.1):
        await space.admit(WRITE)
    await trio.sleep(MOST_WAIT_SECONDS)
    disk.free = 500 * GIB
    assert await disk.write(space) == 0


async def test_what_nobody_waits_for_is_asked_without_waiting(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(KEEP + MIB)
    disk.rate = 5.0 * MIB
    space = disk.space()
    assert not space.refuses(MIB)
    assert space.refuses(MIB + 1)
    assert not space.refuses(0)


async def test_an_empty_write_is_never_refused(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(0)
    assert await disk.write(disk.space(), 0) == 0


async def test_what_the_disk_has_to_take_besides_is_no_room(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(KEEP + GIB)
    space = disk.space(owed=lambda: GIB - MIB)
    assert not space.refuses(MIB)
    assert space.refuses(MIB + 1)


async def test_a_disk_that_cannot_be_asked_refuses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    disk = Fake(0)
    disk.error = OSError(5, "Input/output error")
    assert await disk.write(disk.space()) == 0


async def test_without_a_folder_there_is_always_room(autojump_clock: trio.testing.MockClock) -> None:
    space = Space(None)
    await space.admit(1 << 60)
    assert not space.refuses(1 << 60)


def test_a_disk_is_what_statvfs_tells(tmp_path: Path) -> None:
    told = os.statvfs(tmp_path)
    assert disk_of(tmp_path).total_bytes == told.f_frsize * told.f_blocks
    assert disk_of(tmp_path).free_bytes <= told.f_frsize * told.f_bfree


# --- with the vfs ----------------------------------------------------------------------------------------------------


async def test_only_content_is_refused_on_a_full_disk(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with machine(MemoryRemote(MemoryDrive()), tmp_path, keep_free_bytes=1 << 62) as one:
        await one.mkdir("folder")
        await one.write("folder/empty", b"")
        with pytest.raises(NoSpace):
            await one.write("folder/letter", b"dear reader")
        await one.rename("folder/empty", "folder/renamed")
        await one.fs.attributes.set((await one.find("folder/renamed")).number, Wanted(permissions=0o600))
        await one.fs.attributes.set((await one.find("folder/renamed")).number, Wanted(size_bytes=1 << 30))
        assert (await one.find("folder/renamed")).size_bytes == 1 << 30
        await one.unlink("folder/renamed")


async def test_what_was_written_before_the_disk_was_full_is_there_and_is_sent(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    remote = MemoryRemote(MemoryDrive())
    async with machine(remote, tmp_path, sending=False, keep_free_bytes=0) as one:
        await one.write("letter", b"dear reader")
    async with machine(remote, tmp_path, keep_free_bytes=1 << 62) as one:
        with pytest.raises(NoSpace):
            await one.write("letter", b"dear writer", flags=0)
        assert await one.read("letter") == b"dear reader"
        await one.drained()
    async with machine(remote, tmp_path / "elsewhere") as other:
        assert await other.read("letter") == b"dear reader"
