"""What another machine writes: seen after the TTL, never half, and never under a file that is open here."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.kernel_mount import Mounted, mounted_core
from tests.support.machine import Machine, machine
from tests.support.mounted import Home, wait_until
from tests.support.sites import site, umount

TTL_SECONDS = 0.3
SIZE = 400_000
FIRST, SECOND = b"1" * SIZE, b"2" * SIZE


@asynccontextmanager
async def two_machines(folder: Path, ttl_seconds: float = TTL_SECONDS) -> AsyncIterator[tuple[Mounted, Machine]]:
    """The drive mounted here, and as another machine has it."""
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    drive = MemoryDrive()
    async with (
        machine(MemoryRemote(drive), folder / "here", ttl_seconds=ttl_seconds) as here,
        machine(MemoryRemote(drive), folder / "there", ttl_seconds=0.0) as there,
        mounted_core(here.fs, mountpoint) as mounted,
    ):
        yield mounted, there


async def send(there: Machine, path: str, data: bytes) -> None:
    await there.write(path, data)
    await there.drained()


async def until(mounted: Mounted, condition: Callable[[], bool]) -> None:
    """The kernel's memory runs out by itself: there is no event to wait for."""
    with trio.fail_after(10):
        while not await mounted.call(condition):  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_a_file_that_nobody_holds_keeps_its_number_and_loses_its_pages(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (mounted, there):
        file = mounted.path / "file"
        await send(there, "file", FIRST)
        await until(mounted, file.exists)
        assert await mounted.call(file.read_bytes) == FIRST
        number = (await mounted.call(os.stat, file)).st_ino
        await send(there, "file", SECOND)  # of the same length: nothing but the version tells
        seen = set()

        def is_new() -> bool:
            seen.add(file.read_bytes())
            return SECOND in seen

        await until(mounted, is_new)
        assert seen <= {FIRST, SECOND}
        assert (await mounted.call(os.stat, file)).st_ino == number
        assert await mounted.call(file.read_bytes) == SECOND


async def test_a_file_that_is_held_open_stays_what_it_was_while_the_path_shows_the_new_one(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (mounted, there):
        file = mounted.path / "file"
        await send(there, "file", FIRST)
        await until(mounted, file.exists)
        held = await mounted.call(os.open, file, os.O_RDONLY)
        assert await mounted.call(os.pread, held, 1000, 0) == FIRST[:1000]
        number = (await mounted.call(os.fstat, held)).st_ino
        await send(there, "file", SECOND + b"more")
        await until(mounted, lambda: file.read_bytes() == SECOND + b"more")
        # Not only what was read ahead: the old version's last byte too, and its size.
        assert await mounted.call(os.pread, held, SIZE + 100, 0) == FIRST
        told = await mounted.call(os.fstat, held)
        assert (told.st_size, told.st_ino) == (SIZE, number)
        shown = await mounted.call(os.stat, file)
        assert shown.st_size == SIZE + 4
        assert shown.st_ino != number
        await mounted.call(os.close, held)
        assert await mounted.call(file.read_bytes) == SECOND + b"more"
        assert (await mounted.call(os.stat, file)).st_ino == shown.st_ino


async def test_an_open_that_meets_a_number_of_the_past_is_answered_by_the_kernel_alone(tmp_path: Path) -> None:
    """The file went to another folder, whose listing is newer than the one that the kernel remembers."""
    async with two_machines(tmp_path, ttl_seconds=60) as (mounted, there):
        await there.mkdir("old")
        await there.mkdir("new")
        await send(there, "old/file", FIRST)
        old, new = mounted.path / "old" / "file", mounted.path / "new" / "file"
        held = await mounted.call(os.open, old, os.O_RDONLY)
        await there.rename("old/file", "new/file")
        await send(there, "new/file", SECOND)
        assert await mounted.call(new.read_bytes) == SECOND
        assert await mounted.call(os.pread, held, SIZE, 0) == FIRST
        with pytest.raises(FileNotFoundError):
            await mounted.call(old.read_bytes)
        await mounted.call(os.close, held)


def version(number: int) -> bytes:
    """Every byte and the length tell which."""
    return bytes([number]) * (100_000 + 3000 * (number % 7))


@dataclass
class Reading:
    """Programs that open, read and hold a file for a while, as long as `goes_on`."""

    file: Path
    goes_on: bool = True
    errors: list[OSError] = field(default_factory=list)
    halves: list[tuple[int, set[int]]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def read(self, holds_seconds: float) -> None:
        while self.goes_on:
            try:
                with self.file.open("rb", buffering=0) as opened:
                    time.sleep(holds_seconds)
                    data = b"".join(iter(lambda: opened.read(50_000), b""))
            except OSError as error:
                self.errors.append(error)
                return
            if not data or data != version(data[0]):
                self.halves.append((len(data), set(data)))
                return
            self.seen.add(data[0])

    def run(self) -> None:
        threads = [threading.Thread(target=self.read, args=(seconds,)) for seconds in (0, 0.01, 0.1, 0.5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


async def test_programs_that_open_a_file_while_it_changes_never_hear_of_it(tmp_path: Path) -> None:
    """ESTALE is between the kernel and us, and no program ever sees half of one version and half of another."""
    async with two_machines(tmp_path) as (mounted, there):
        await send(there, "file", version(1))
        reading = Reading(mounted.path / "file")
        await until(mounted, reading.file.exists)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mounted.call, reading.run)
            for number in range(2, 40):
                await send(there, "file", version(number))
                await trio.sleep(0.05)
            await trio.sleep(2 * TTL_SECONDS)
            reading.goes_on = False
        assert reading.errors == []
        assert reading.halves == []
        assert len(reading.seen) > 3
        await until(mounted, lambda: reading.file.read_bytes() == version(39))


def test_two_mounts_of_one_portal_show_whole_versions_and_no_errors(place: Home, other: Home) -> None:
    with tempfile.TemporaryDirectory(prefix="bfs-portal-") as folder, site(Path(folder)) as portal:
        for one in (place, other):
            portal.mount(one, "ttl=300ms,settle=0s")
        written = other.mountpoint / "file"
        written.write_bytes(version(1))
        reading = Reading(place.mountpoint / "file")
        wait_until(reading.file.exists, "the file is there")
        readers = threading.Thread(target=reading.run)
        readers.start()
        for number in range(2, 15):
            written.write_bytes(version(number))
            time.sleep(0.2)
        wait_until(lambda: reading.file.read_bytes() == version(14), "the last version is there")
        reading.goes_on = False
        readers.join()
        assert (reading.errors, reading.halves) == ([], [])
        assert len(reading.seen) > 2
        for one in (place, other):
            umount(one)
