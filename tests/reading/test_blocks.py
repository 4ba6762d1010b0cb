"""The block store under readers: what is kept and for how long, and that nothing but the content's bytes is served."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bitcasafs.errors import ChecksumMismatch, ConfigError, Locked
from bitcasafs.reading.block_map import BLOCK_BYTES, HEADER_BYTES, RECORD_BYTES
from bitcasafs.reading.blocks import MOST_OPEN, Blocks
from bitcasafs.reading.eviction import SAME_TIME_NS, Limits
from bitcasafs.remote.interface import ContentRef
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.machine import machine
from tests.support.read_portal import PLENTY, ReadPortal, block_mount, disk_bytes, store_files

MIB = 1 << 20


@pytest.fixture
def portal() -> ReadPortal:
    return ReadPortal()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blocks"


# --- kept -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * MIB + 7])
@pytest.mark.parametrize("request_bytes", [128 << 10, 100_000])
async def test_a_second_mount_reads_without_the_network(
    portal: ReadPortal, folder: Path, size_bytes: int, request_bytes: int
) -> None:
    content = portal.add("a", size_bytes)
    async with block_mount(portal, folder) as mount:
        await mount.read(content, request_bytes)
        assert mount.blocks.statistics().stored_bytes == size_bytes
    portal.fetches.clear()
    async with block_mount(portal, folder) as mount:
        await mount.read(content, request_bytes)
        assert mount.blocks.statistics().read_bytes == size_bytes
    assert portal.fetches == []


async def test_blocks_that_two_fetches_share_are_kept_too(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 6 * MIB)
    async with block_mount(portal, folder) as mount:
        reader = mount.reader(content)
        for start in range(MIB + 4096, 4 * MIB, BLOCK_BYTES):  # a reader that began in the middle
            await reader.read(start, start + BLOCK_BYTES)
        reader.close()
        lease = mount.lease(content)
        assert lease.missing(MIB + BLOCK_BYTES, 4 * MIB) == (4 * MIB, 4 * MIB)
        lease.close()


async def test_only_what_is_missing_is_fetched(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 4 * MIB)
    async with block_mount(portal, folder) as mount:
        lease = mount.lease(content)
        for index in (1, 2, 9, 31):
            lease.store(index, portal.held["a"][index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES])
        lease.close()
        await mount.read(content)
    assert portal.fetched_bytes == 28 * BLOCK_BYTES


async def test_a_random_reader_fetches_no_more_than_it_asked_for(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 64 * MIB)
    async with block_mount(portal, folder) as mount:
        reader = mount.reader(content)
        for start in (40 * MIB, 8 * MIB, 60 * MIB):
            await reader.read(start, start + 4096)
        reader.close()
    assert portal.fetched_bytes == 3 * 4096


async def test_what_arrived_before_a_reader_closed_is_kept(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 4 * MIB)
    async with block_mount(portal, folder) as mount:
        reader = mount.reader(content)
        await reader.read(0, BLOCK_BYTES)
        reader.close()
        lease = mount.lease(content)
        assert lease.has(0)
        lease.close()


async def test_two_readers_share_what_is_kept_of_one_content(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 3 * MIB + 1)
    async with block_mount(portal, folder) as mount:
        first, second = mount.reader(content), mount.reader(content)
        for start in range(0, content.size_bytes, BLOCK_BYTES):
            wanted = portal.held["a"][start : start + BLOCK_BYTES]
            assert await first.read(start, start + BLOCK_BYTES) == wanted
            assert await second.read(start, start + BLOCK_BYTES) == wanted
        first.close()
        assert await second.read(0, 5) == portal.held["a"][:5]
        second.close()
        assert mount.blocks.statistics().stored_bytes == content.size_bytes
        assert mount.blocks.statistics().leased == 0


async def test_a_content_whose_digest_is_wrong_is_not_kept(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 1000)
    portal.error = ChecksumMismatch("not what was sent")
    async with block_mount(portal, folder) as mount:
        reader = mount.reader(content)
        await reader.read(0, 1000)
        await trio.testing.wait_all_tasks_blocked()
        reader.close()
        assert mount.blocks.statistics().stored_bytes == 0


async def test_another_version_is_never_served(portal: ReadPortal, folder: Path) -> None:
    async with block_mount(portal, folder) as mount:
        await mount.read(portal.add("version 1", MIB))
        await mount.read(portal.add("version 2", MIB))
        await mount.read(portal.add("version 1", MIB + 1))  # a portal that breaks its word, with another size
    assert [fetch[0] for fetch in portal.fetches if fetch[1] == 0] == ["version 1", "version 2", "version 1"]


async def test_a_drive_mounted_again_gives_a_file_without_asking_for_its_content(
    tmp_path: Path, folder: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = MemoryRemote(MemoryDrive())
    async with machine(remote, tmp_path / "writer") as writer:
        await writer.write("/photo.jpg", random.Random(1).randbytes(MIB + 5))
        await writer.drained()
    for run in range(2):
        blocks = Blocks(folder, PLENTY)
        async with machine(remote, tmp_path / "reader", blocks=blocks) as reader:
            assert await reader.read("/photo.jpg") == random.Random(1).randbytes(MIB + 5)
            assert blocks.statistics().read_bytes == (MIB + 5 if run else 0)
        blocks.close()


# --- damage -----------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_start(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 0x80
    path.write_bytes(data)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 3)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"garbage")


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(2).randbytes(path.stat().st_size))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def delete(path: Path) -> None:
    path.unlink()


def other_content(path: Path) -> None:
    other = next(found for found in store_files(path.parents[1], path.suffix) if found != path)
    shutil.copyfile(other, path)


def both_of_other_content(path: Path) -> None:
    for ending in (".data", ".map"):
        other_content(path.with_suffix(ending))


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_instead(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


REPAIRED = [flip, flip_start, halve, empty, lengthen, garbage, zeros, delete, other_content, both_of_other_content]
IN_THE_WAY = [folder_instead, fifo_instead, link_instead]


@pytest.mark.parametrize("ending", [".data", ".map"])
@pytest.mark.parametrize("damage", [*REPAIRED, *IN_THE_WAY])
@pytest.mark.allow_log("cannot be kept")
async def test_damage_is_found_and_fetched_again(
    portal: ReadPortal, folder: Path, ending: str, damage: Callable[[Path], None]
) -> None:
    content, other = portal.add("a", MIB + 5), portal.add("b", MIB + 5)
    async with block_mount(portal, folder) as mount:
        await mount.read(other)
        spared = set(store_files(folder, ending))
        await mount.read(content)
    (path,) = set(store_files(folder, ending)) - spared
    damage(path)
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
        await mount.read(other)
    portal.fetches.clear()
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
        await mount.read(other)
    assert not portal.fetches or damage in IN_THE_WAY


async def test_only_the_damaged_block_is_fetched_again(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 4 * MIB)
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
    flip(store_files(folder, ".data")[0])
    portal.fetches.clear()
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
        assert mount.blocks.statistics().damaged_blocks == 1
    assert portal.fetched_bytes == BLOCK_BYTES


async def test_a_small_read_checks_its_whole_block(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 2 * BLOCK_BYTES)
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
    flip(store_files(folder, ".data")[0])  # the first byte of the second block
    async with block_mount(portal, folder) as mount:
        reader = mount.reader(content)
        assert await reader.read(2 * BLOCK_BYTES - 10, 2 * BLOCK_BYTES) == portal.held["a"][-10:]
        assert mount.blocks.statistics().damaged_blocks == 1
        reader.close()


@pytest.mark.parametrize("ending", [".data", ".map"])
async def test_a_file_that_is_cut_short_while_it_is_read_is_never_served_short(
    portal: ReadPortal, folder: Path, ending: str
) -> None:
    content = portal.add("a", MIB)
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
        reader = mount.reader(content)
        assert await reader.read(0, MIB) == portal.held["a"]
        os.truncate(store_files(folder, ending)[0], 1000)
        assert await reader.read(0, MIB) == portal.held["a"]
        reader.close()


async def test_a_store_that_is_emptied_while_it_is_used_does_no_harm(portal: ReadPortal, folder: Path) -> None:
    content, other = portal.add("a", MIB), portal.add("b", MIB)
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
        reader = mount.reader(other)
        await reader.read(0, BLOCK_BYTES)
        shutil.rmtree(folder)
        assert await reader.read(0, MIB) == portal.held["b"]
        reader.close()
        await mount.read(content)
        await mount.read(other)
        assert store_files(folder, "") == []


async def test_what_is_not_ours_in_the_folder_is_let_be(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 5)
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
    strangers = [folder / "notes", folder / "ab" / "notes.data", folder / "ab" / f"{'0' * 62}.map" / "deep"]
    for stranger in strangers:
        stranger.parent.mkdir(parents=True, exist_ok=True)
        stranger.write_bytes(b"mine")
    half = folder / "ab" / f"{'1' * 62}.data"
    half.write_bytes(b"no map says what this is")
    portal.fetches.clear()
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
    assert portal.fetches == []
    assert all(stranger.read_bytes() == b"mine" for stranger in strangers)
    assert not half.exists()


# --- a kill -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_bytes", [0, 7, HEADER_BYTES, HEADER_BYTES + 3 * RECORD_BYTES + 9])
async def test_a_map_cut_by_a_crash_claims_only_what_it_holds(
    portal: ReadPortal, folder: Path, kept_bytes: int
) -> None:
    content = portal.add("a", MIB)
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
    os.truncate(store_files(folder, ".map")[0], kept_bytes)
    portal.fetches.clear()
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
    assert portal.fetched_bytes == MIB - (kept_bytes // HEADER_BYTES and 3 * (kept_bytes > HEADER_BYTES)) * BLOCK_BYTES
    portal.fetches.clear()
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
    assert portal.fetches == []


WRITER = """
import random, sys
from pathlib import Path
from bitcasafs.reading.blocks import Blocks
from bitcasafs.reading.eviction import Limits
from bitcasafs.remote.interface import ContentRef
blocks = Blocks(Path(sys.argv[1]), Limits(keep_free_bytes=0))
print("ready", flush=True)
size = 4 << 20
for number in range(1000):
    lease = blocks.lease(ContentRef(f"c{number}", size))
    data = random.Random(f"c{number} 0").randbytes(size)
    for index in range(size >> 17):
        lease.store(index, data[index << 17 : (index + 1) << 17])
    lease.close()
"""


def store_until_killed(folder: Path, contents: int) -> None:
    """A process that stores one content after another, killed in the middle of one."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + 20
        while len(store_files(folder, ".map")) < contents and time.monotonic() < deadline:
            pass
        process.kill()


async def test_kill_9_while_blocks_are_written_leaves_only_true_ones(portal: ReadPortal, folder: Path) -> None:
    for contents in (3, 5, 7):
        await trio.to_thread.run_sync(store_until_killed, folder, contents)
        async with block_mount(portal, folder) as mount:
            assert mount.blocks.statistics().contents >= contents
            for number in range(contents):
                await mount.read(portal.add(f"c{number}", 4 * MIB))
            assert mount.blocks.statistics().damaged_blocks == 0
            assert mount.blocks.statistics().read_bytes >= (contents - 1) * 4 * MIB


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_the_bound_holds_while_much_more_is_read_through(portal: ReadPortal, folder: Path) -> None:
    limits = Limits(size_bytes=4 * MIB, keep_free_bytes=0)
    async with block_mount(portal, folder, limits) as mount:
        for number in range(40):
            await mount.read(portal.add(f"c{number}", random.Random(number).choice([5000, 100_000, MIB, 2 * MIB + 1])))
            assert disk_bytes(folder) <= limits.size_bytes
            assert mount.blocks.statistics().disk_bytes <= limits.size_bytes
        told = mount.blocks.statistics()
        assert told.evicted_contents > 10
        assert told.disk_bytes == disk_bytes(folder)
        # The last one is here: there was room for it once older ones had gone.
        portal.fetches.clear()
        await mount.read(ContentRef("c39", len(portal.held["c39"])))
        assert portal.fetches == []


async def test_a_content_larger_than_the_store_is_read_through_and_kept_in_part(
    portal: ReadPortal, folder: Path
) -> None:
    limits = Limits(size_bytes=2 * MIB, keep_free_bytes=0)
    async with block_mount(portal, folder, limits) as mount:
        await mount.read(portal.add("a", 9 * MIB))
        assert disk_bytes(folder) <= limits.size_bytes
        told = mount.blocks.statistics()
        assert told.dropped_blocks > 0
        assert told.stored_bytes > MIB


async def test_what_is_open_is_never_evicted(portal: ReadPortal, folder: Path) -> None:
    limits = Limits(size_bytes=3 * MIB, keep_free_bytes=0)
    content = portal.add("open", MIB)
    async with block_mount(portal, folder, limits) as mount:
        await mount.read(content)
        reader = mount.reader(content)
        for number in range(8):
            await mount.read(portal.add(f"c{number}", MIB))
        portal.fetches.clear()
        assert await reader.read(0, MIB) == portal.held["open"]
        assert portal.fetches == []
        reader.close()


async def test_the_longest_unused_goes_first_even_after_a_remount(portal: ReadPortal, folder: Path) -> None:
    limits = Limits(size_bytes=4 * MIB, keep_free_bytes=0)
    contents = [portal.add(f"c{number}", MIB) for number in range(3)]
    for hour, content in enumerate([*contents, contents[0]]):
        async with block_mount(portal, folder, limits, now_ns=10**18 + hour * SAME_TIME_NS) as mount:
            await mount.read(content)
    async with block_mount(portal, folder, limits, now_ns=10**18 + 9 * SAME_TIME_NS) as mount:
        await mount.read(portal.add("new", MIB))
        portal.fetches.clear()
        await mount.read(contents[0])
        await mount.read(contents[2])
        assert portal.fetches == []
        await mount.read(contents[1])
        assert portal.fetches != []


async def test_a_smaller_limit_shrinks_the_store_at_the_mount_and_none_empties_it(
    portal: ReadPortal, folder: Path
) -> None:
    async with block_mount(portal, folder) as mount:
        for number in range(5):
            await mount.read(portal.add(f"c{number}", MIB))
    async with block_mount(portal, folder, Limits(size_bytes=3 * MIB, keep_free_bytes=0)):
        assert 2 * MIB <= disk_bytes(folder) <= 3 * MIB
    async with block_mount(portal, folder, Limits(size_bytes=0, keep_free_bytes=0)) as mount:
        await mount.read(portal.add("c0", MIB))
        assert disk_bytes(folder) == 0


async def test_no_more_contents_are_kept_than_may_be(portal: ReadPortal, folder: Path) -> None:
    async with block_mount(portal, folder, Limits(contents=5, keep_free_bytes=0)) as mount:
        for number in range(12):
            await mount.read(portal.add(f"c{number}", 100))
        assert mount.blocks.statistics().contents <= 5
    assert len(store_files(folder, ".map")) <= 5


async def test_a_disk_that_others_have_filled_is_left_alone(portal: ReadPortal, folder: Path) -> None:
    async with block_mount(portal, folder) as mount:
        await mount.read(portal.add("a", MIB))
    async with block_mount(portal, folder, Limits(keep_free_bytes=1 << 62)) as mount:
        await mount.read(portal.add("b", MIB))
        assert mount.blocks.statistics().dropped_blocks > 0
    assert disk_bytes(folder) == 0


async def test_a_disk_that_others_fill_gets_back_only_what_it_needs(
    portal: ReadPortal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.statvfs
    others = 0

    def told(path: str) -> SimpleNamespace:
        disk = really(path)
        free = 100 * MIB - others - disk_bytes(folder)
        return SimpleNamespace(f_bavail=free // disk.f_frsize, f_frsize=disk.f_frsize, f_blocks=disk.f_blocks)

    monkeypatch.setattr(os, "statvfs", told)
    async with block_mount(portal, folder, Limits(keep_free_bytes=50 * MIB)) as mount:
        for number in range(20):
            await mount.read(portal.add(f"c{number}", MIB))
        others = 35 * MIB
        await mount.read(portal.add("last", MIB))
        assert 13 * MIB < disk_bytes(folder) <= 15 * MIB


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.allow_log("cannot be kept")
async def test_a_disk_that_refuses_drops_the_block_and_reading_goes_on(
    portal: ReadPortal, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    content = portal.add("a", 4 * MIB)
    really = os.pwrite
    calls = random.Random(3)

    def refusing(descriptor: int, data: bytes, offset: int) -> int:
        if calls.random() < 0.5:
            if len(data) > 8:
                really(descriptor, bytes(data)[:7], offset)  # what a full disk still took
            raise OSError(number, os.strerror(number))
        return really(descriptor, data, offset)

    async with block_mount(portal, folder) as mount:
        monkeypatch.setattr(os, "pwrite", refusing)
        await mount.read(content)
        await mount.read(content)
        monkeypatch.undo()
        assert mount.blocks.statistics().dropped_blocks > 0
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
        assert mount.blocks.statistics().damaged_blocks == 0
        portal.fetches.clear()
        await mount.read(content)
        assert portal.fetches == []


async def test_more_contents_are_open_than_descriptors(portal: ReadPortal, folder: Path) -> None:
    async with block_mount(portal, folder) as mount:
        contents = [portal.add(f"c{number}", 3000) for number in range(2 * MOST_OPEN)]
        for content in contents:
            await mount.read(content)
        before = len(os.listdir("/proc/self/fd"))
        readers = [mount.reader(content) for content in contents]
        portal.fetches.clear()
        for _ in range(2):
            for reader, content in zip(readers, contents, strict=True):
                assert await reader.read(0, 3000) == portal.held[content.id]
        assert portal.fetches == []
        assert len(os.listdir("/proc/self/fd")) - before <= 2 * MOST_OPEN
        for reader in readers:
            reader.close()
        assert len(os.listdir("/proc/self/fd")) == before


async def test_what_was_damaged_while_its_files_were_closed_is_found(portal: ReadPortal, folder: Path) -> None:
    content = portal.add("a", 3000)
    others = [portal.add(f"c{number}", 3000) for number in range(MOST_OPEN)]
    async with block_mount(portal, folder) as mount:
        await mount.read(content)
        data = store_files(folder, ".data")[0]
        for other in others:
            await mount.read(other)
        readers = [mount.reader(one) for one in (content, *others)]
        assert await readers[0].read(0, 3000) == portal.held["a"]
        for reader in readers[1:]:
            await reader.read(0, 3000)
        flip(data)
        assert await readers[0].read(0, 3000) == portal.held["a"]
        assert mount.blocks.statistics().damaged_blocks == 1
        for reader in readers:
            reader.close()


# --- the folder -------------------------------------------------------------------------------------------------------


async def test_nobody_else_sees_what_is_kept(portal: ReadPortal, folder: Path) -> None:
    async with block_mount(portal, folder) as mount:
        await mount.read(portal.add("a", 100))
    found = [folder, *store_files(folder, "")]
    assert len(found) == 5
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}


def test_a_folder_that_is_open_to_others_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "something").touch()
    with pytest.raises(ConfigError):
        Blocks(folder)


def test_a_store_belongs_to_one_mount_at_a_time(folder: Path) -> None:
    first = Blocks(folder)
    with pytest.raises(Locked):
        Blocks(folder)
    first.close()
    first.close()
    Blocks(folder).close()


async def test_a_lease_that_outlives_its_store_has_nothing_and_keeps_nothing(portal: ReadPortal, folder: Path) -> None:
    async with block_mount(portal, folder) as mount:
        lease = mount.lease(portal.add("a", 100))
    lease.store(0, portal.held["a"])
    assert lease.read(0, 100) == b""
    lease.close()
    assert store_files(folder, ".data") == []


# --- any reads --------------------------------------------------------------------------------------------------------

CONTENT_BYTES = 3 * MIB + 12_345
READS = st.lists(st.tuples(st.integers(0, CONTENT_BYTES), st.integers(1, 300_000)), min_size=1, max_size=12)


@given(st.lists(READS, min_size=1, max_size=3), st.sampled_from([0, MIB, 64 * MIB]))
@settings(max_examples=40)
def test_any_reads_over_any_mounts_give_the_contents_bytes(mounts: list[list[tuple[int, int]]], limit: int) -> None:
    async def run(folder: Path) -> None:
        portal = ReadPortal()
        content = portal.add("a", CONTENT_BYTES)
        for reads in mounts:
            async with block_mount(portal, folder, Limits(size_bytes=limit, keep_free_bytes=0)) as mount:
                readers = [mount.reader(content), mount.reader(content)]
                for number, (start, length) in enumerate(reads):
                    got = await readers[number % 2].read(start, start + length)
                    assert got == portal.held["a"][start : start + length]
                for reader in readers:
                    reader.close()
                assert mount.blocks.statistics().damaged_blocks == 0
            assert disk_bytes(folder) <= limit

    with tempfile.TemporaryDirectory() as name:
        trio.run(run, Path(name) / "blocks")


@given(st.sampled_from([".data", ".map"]), st.integers(0, 2**20 - 1), st.integers(1, 255), st.booleans())
@settings(max_examples=40)
def test_damage_at_any_place_is_never_served(ending: str, place: int, change: int, cut: bool) -> None:
    async def run(folder: Path) -> None:
        portal = ReadPortal()
        content = portal.add("a", MIB)
        async with block_mount(portal, folder) as mount:
            await mount.read(content)
        path = store_files(folder, ending)[0]
        data = bytearray(path.read_bytes())
        data[place % len(data)] ^= change
        path.write_bytes(data[: place % len(data) + 1] if cut else data)
        async with block_mount(portal, folder) as mount:
            await mount.read(content)

    with tempfile.TemporaryDirectory() as name:
        trio.run(run, Path(name) / "blocks")
