"""The first message of a mount has our limits in it, and whatever goes wrong before it leaves nothing behind."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import ConfigError
from bitcasafs.fuse.device import FUSERMOUNT, cover, is_connected, uncover
from bitcasafs.fuse.guard import Guard
from bitcasafs.fuse.handshake import CONGESTION_THRESHOLD, MAX_BACKGROUND, with_limits
from bitcasafs.fuse.operations import KernelOperations
from bitcasafs.fuse.session import MAX_TASKS, Session, SessionOptions, mount_words
from bitcasafs.options import KERNEL_FLAGS
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.kernel_mount import drive
from tests.support.machine import machine

# fuse_out_header; major, minor, max_readahead, flags, max_background, congestion_threshold; max_write and the rest
ANSWER = struct.Struct("=IiQ IIIIHH I36s")
REST = (1 << 20, bytes(range(36)))


def answer(*, error: int = 0, minor: int = 31, length: int = ANSWER.size) -> bytes:
    return ANSWER.pack(length, error, 2, 7, minor, 131072, 0x4040F039, 0, 0, *REST)


def test_the_answer_to_init_gets_our_limits_and_nothing_else() -> None:
    assert ANSWER.unpack(with_limits(answer())) == (
        ANSWER.size, 0, 2, 7, 31, 131072, 0x4040F039, MAX_BACKGROUND, CONGESTION_THRESHOLD, *REST,
    )  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [b"", b"short", answer(error=-71), answer(minor=12), answer(length=ANSWER.size + 1), answer()[:32]],
    ids=["nothing", "short", "an error", "an old kernel's", "of another length", "cut off"],
)
def test_any_other_answer_is_left_as_it_is(other: bytes) -> None:
    assert with_limits(other) == other


def test_more_requests_may_wait_than_the_kernel_holds_back() -> None:
    assert 400 < CONGESTION_THRESHOLD < MAX_BACKGROUND < MAX_TASKS


async def test_a_mount_knows_that_its_limits_were_taken(tmp_path: Path) -> None:
    async with drive(tmp_path) as mounted:
        connection = mounted.session.connection
        assert connection is not None
        assert connection.raised
        minor = os.minor((await mounted.call(os.stat, mounted.path)).st_dev)
        assert connection.device_minor == minor
        assert limit_of(minor) in (None, MAX_BACKGROUND)


def limit_of(minor: int) -> int | None:
    """Where the kernel's folder is there."""
    limit = Path(f"/sys/fs/fuse/connections/{minor}/max_background")
    return int(limit.read_text()) if limit.exists() else None


def mounts(path: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {path} fuse" in line]


def is_mounted(path: Path) -> bool:
    return mounts(path) != []


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_mountpoint_that_is_not_there_is_told_in_fusermount3_s_words(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(ConfigError, match=r"could not be mounted: .*No such file or directory"):
        cover(tmp_path / "nowhere", {"fsname=test"})
    assert descriptors() == before


def test_a_machine_without_fusermount3_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(ConfigError, match=f"{FUSERMOUNT} is not installed"):
        cover(tmp_path, {"fsname=test"})


def test_a_device_knows_whether_its_mount_is_there(tmp_path: Path) -> None:
    device = cover(tmp_path, {"fsname=test"})
    try:
        assert is_mounted(tmp_path)
        assert not os.get_inheritable(device)
        assert is_connected(device)
        uncover(tmp_path)
        assert not is_connected(device)
    finally:
        os.close(device)
    assert not is_mounted(tmp_path)


@pytest.mark.parametrize("source", ["plain", "with, comma", "back\\slash", "bitcasafs:/home/ä b"])
async def test_the_source_is_shown_as_it_is(tmp_path: Path, source: str) -> None:
    device = cover(tmp_path, mount_words(SessionOptions(tmp_path, source)))
    try:
        [line] = mounts(tmp_path)
        shown = line.split()[0].encode().decode("unicode_escape")
        assert shown == source.encode("ascii", "replace").decode()
        assert " fuse.bitcasafs " in line
        assert {"nosuid", "nodev", "default_permissions"} <= set(line.split()[3].split(","))
    finally:
        uncover(tmp_path)
        os.close(device)


@pytest.mark.parametrize("flag", sorted(KERNEL_FLAGS | {"ro"}))
def test_every_flag_of_the_kernel_can_be_asked_for(tmp_path: Path, flag: str) -> None:
    device = cover(tmp_path, mount_words(SessionOptions(tmp_path, "test", frozenset({flag}))))
    try:
        assert is_mounted(tmp_path)
    finally:
        uncover(tmp_path)
        os.close(device)


async def session(folder: Path) -> Session:
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    async with machine(MemoryRemote(MemoryDrive()), folder / "state") as one:
        return Session(KernelOperations(one.fs, Guard()), SessionOptions(mountpoint, "test"))


async def test_a_session_that_never_runs_leaves_nothing(tmp_path: Path) -> None:
    one = await session(tmp_path)
    before = descriptors()
    one.open()
    assert is_mounted(tmp_path / "mnt")
    one.close()
    one.close()
    assert not is_mounted(tmp_path / "mnt")
    assert descriptors() == before


async def test_a_mount_that_is_gone_before_it_answers_is_a_clear_error(tmp_path: Path) -> None:
    one = await session(tmp_path)
    one.open()
    uncover(tmp_path / "mnt")
    with pytest.raises(ConfigError, match="was unmounted before it answered"):
        await one.run()
    one.close()


async def test_a_session_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    one = await session(tmp_path)
    before = descriptors()
    one.open()
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.run()
    one.close()
    assert not is_mounted(tmp_path / "mnt")
    assert descriptors() == before


@pytest.mark.parametrize("held", [False, True], ids=["nobody has a file open", "somebody has a file open"])
async def test_what_somebody_else_mounted_there_since_stays(tmp_path: Path, held: bool) -> None:
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    async with machine(MemoryRemote(MemoryDrive()), tmp_path / "state") as core:
        one = Session(KernelOperations(core.fs, Guard()), SessionOptions(mountpoint, "test"))
        one.open()
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            folder = await trio.to_thread.run_sync(os.open, mountpoint, os.O_RDONLY) if held else None
            await trio.to_thread.run_sync(uncover, mountpoint)
            other = await trio.to_thread.run_sync(cover, mountpoint, {"fsname=other"})
            nursery.cancel_scope.cancel()
        one.close()
    try:
        assert is_mounted(mountpoint)
    finally:
        uncover(mountpoint)
        os.close(other)
        if folder is not None:
            os.close(folder)
