"""Content: written, read back, sealed and sent; here and through a second machine that shares nothing but the drive."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import BadHandle, IsFolder, QuotaExceeded, Stale
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.vfs.entry import Wanted
from bitcasafs.writing.change import State
from tests.support.machine import machine


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote(MemoryDrive())


async def test_what_was_closed_is_seen_by_another_machine_after_the_upload(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/letter.txt", b"dear reader")
        assert await one.read("/letter.txt") == b"dear reader"
        await one.drained()
        assert await two.read("/letter.txt") == b"dear reader"
        assert len(one.fs.outbox) == 0


async def test_content_is_sealed_at_flush_and_sent_only_after_the_last_close(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        handle = await one.open("/log", os.O_WRONLY | os.O_CREAT)
        await one.fs.files.write(handle, 0, b"first")
        assert [record.state for record in one.fs.outbox] == [State.OPEN]
        await one.fs.files.flush(handle)
        assert [(record.state, record.generation) for record in one.fs.outbox] == [(State.READY, 1)]
        await trio.testing.wait_all_tasks_blocked()
        assert not remote.drive.files
        await one.fs.files.release(handle)
        await one.drained()
        assert [row.size_bytes for row in (await remote.list((await remote.roots()).items[0].address)).items] == [5]


async def test_a_clean_flush_seals_nothing(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, sending=False) as one:
        writer = await one.open("/a", os.O_WRONLY | os.O_CREAT)
        await one.fs.files.flush(writer)
        await one.fs.files.write(writer, 0, b"x")
        reader = await one.open("/a", os.O_RDONLY)
        await one.fs.files.flush(reader)
        assert [(record.state, record.generation) for record in one.fs.outbox] == [(State.OPEN, 1)]


async def test_a_write_in_the_middle_keeps_the_rest_of_the_base(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/data", bytes(1000) + b"A" * 1000)
        await one.drained()
        await one.write("/data", b"middle", offset=995, flags=0)
        wanted = bytes(995) + b"middle" + b"A" * 999
        assert await one.read("/data") == wanted
        await one.drained()
        assert await two.read("/data") == wanted


@pytest.mark.parametrize(("size", "wanted"), [(3, b"abc"), (6, b"abcdef"), (9, b"abcdef\0\0\0"), (0, b"")])
async def test_truncate_cuts_and_extends_with_zeros(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock, size: int, wanted: bytes
) -> None:
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/data", b"abcdef")
        await one.drained()
        node = one.fs.nodes[(await one.find("/data")).number]
        await one.fs.files.resize(node, size)
        assert await one.read("/data") == wanted
        await one.drained()
        assert await two.read("/data") == wanted


async def test_cut_then_extended_bytes_of_the_base_do_not_come_back(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/data", b"secret-tail")
        await one.drained()
        handle = await one.open("/data", os.O_RDWR)
        number = (await one.find("/data")).number
        await one.fs.attributes.set(number, Wanted(size_bytes=6), handle)
        await one.fs.attributes.set(number, Wanted(size_bytes=11), handle)
        assert await one.fs.files.read(handle, 0, 100) == b"secret\0\0\0\0\0"
        await one.close(handle)
        await one.drained()
        assert await one.read("/data") == b"secret\0\0\0\0\0"


async def test_appending_handles_do_not_overwrite_each_other(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        first, second = await one.open("/log", flags), await one.open("/log", flags)
        await one.fs.files.write(first, 0, b"one,")
        await one.fs.files.write(second, 0, b"two,")
        await one.fs.files.write(first, 4, b"three")
        await one.close(first)
        await one.close(second)
        assert await one.read("/log") == b"one,two,three"


async def test_a_write_to_what_is_being_sent_goes_on_in_a_copy(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    slow = SlowStore(remote)
    async with machine(slow, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/file", b"generation one")
        await slow.began.wait()
        await one.write("/file", b"generation TWO", flags=0)
        assert await one.read("/file") == b"generation TWO"
        slow.go_on.set()
        await one.drained()
        assert await two.read("/file") == b"generation TWO"
        assert slow.stored == [b"generation one", b"generation TWO"]
        assert list((tmp_path / "one" / "staged").iterdir()) == []


async def test_an_unlinked_open_file_is_read_and_written_to_the_end(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/gone", b"still here")
        await one.drained()
        handle = await one.open("/gone", os.O_RDWR)
        await one.unlink("/gone")
        assert await one.names() == []
        assert await one.fs.files.read(handle, 0, 100) == b"still here"
        await one.fs.files.write(handle, 0, b"STILL")
        assert await one.fs.files.read(handle, 0, 100) == b"STILL here"
        await one.close(handle)
        await one.drained()
        assert list((tmp_path / "staged").iterdir()) == []
        assert not remote.drive.files


async def test_an_unlinked_file_that_was_never_sent_leaves_nothing(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        handle = await one.open("/tmp", os.O_RDWR | os.O_CREAT)
        await one.fs.files.write(handle, 0, b"scratch")
        await one.unlink("/tmp")
        assert await one.fs.files.read(handle, 0, 100) == b"scratch"
        await one.close(handle)
        assert len(one.fs.outbox) == 0
        assert list((tmp_path / "staged").iterdir()) == []


async def test_an_open_file_does_not_change_under_its_reader(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one", ttl_seconds=1) as one, machine(remote, tmp_path / "two") as two:
        await one.write("/book", b"first edition")
        await one.drained()
        old = (await two.find("/book")).number
        handle = await two.open("/book", os.O_RDONLY)
        await one.write("/book", b"second edition, longer")
        await one.drained()
        await trio.sleep(20)
        assert (await two.find("/book")).number != old
        with pytest.raises(Stale):
            await two.fs.files.open(old, os.O_RDONLY)
        assert await two.read("/book") == b"second edition, longer"
        assert await two.fs.files.read(handle, 0, 100) == b"first edition"
        await two.close(handle)


async def test_the_kernels_pages_are_kept_for_an_unchanged_version_only(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one", ttl_seconds=1) as one, machine(remote, tmp_path / "two") as two:
        await one.write("/book", b"first")
        await one.drained()
        number = (await one.find("/book")).number
        kept = []
        for _ in range(2):
            opened = await one.fs.files.open(number, os.O_RDONLY)
            kept.append(opened.keep_pages)
            await one.close(opened.handle)
        await two.write("/book", b"second")
        await two.drained()
        await trio.sleep(5)
        assert (await one.find("/book")).number == number
        for _ in range(2):
            opened = await one.fs.files.open(number, os.O_RDONLY)
            kept.append(opened.keep_pages)
            await one.close(opened.handle)
        assert kept == [True, True, False, True]


async def test_the_portals_refusal_is_told_once_to_an_open_handle_and_stays_as_a_problem(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = MemoryRemote(MemoryDrive(quota_bytes=10))
    async with machine(remote, tmp_path) as one:
        await one.write("/big", b"x" * 100)
        reader = await one.open("/big", os.O_RDONLY)
        await one.drained()
        with pytest.raises(QuotaExceeded):
            await one.fs.files.flush(reader)
        await one.fs.files.flush(reader)
        problem = next(iter(one.fs.problems()))
        assert problem.path == "big"
        assert problem.staged is not None
        assert (tmp_path / "staged" / problem.staged).read_bytes() == b"x" * 100
        assert await one.fs.files.read(reader, 0, 200) == b"x" * 100


async def test_handles_keep_to_their_direction(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        writer = await one.open("/a", os.O_WRONLY | os.O_CREAT)
        reader = await one.open("/a", os.O_RDONLY)
        with pytest.raises(BadHandle):
            await one.fs.files.read(writer, 0, 1)
        with pytest.raises(BadHandle):
            await one.fs.files.write(reader, 0, b"x")
        with pytest.raises(IsFolder):
            await one.fs.files.open(1, os.O_RDONLY)


async def test_sealed_content_is_sent_by_the_next_mount_and_unsealed_is_a_file_of_its_own(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, sending=False) as one:
        await one.write("/sealed", b"safe")
        handle = await one.open("/unsealed", os.O_WRONLY | os.O_CREAT)
        await one.fs.files.write(handle, 0, b"half a sentence")
    async with machine(remote, tmp_path) as again:
        assert (again.recovered.to_send, again.recovered.aside) == (2, ("unsealed (recovered 2026-11-24)",))
        assert await again.read("/sealed") == b"safe"
        await again.drained()
        root = (await remote.roots()).items[0]
        assert [item.name for item in (await remote.list(root.address)).items] == [
            "sealed",
            "unsealed (recovered 2026-11-24)",
        ]
        assert await again.read("/unsealed (recovered 2026-11-24)") == b"half a sentence"


async def test_what_was_synced_and_then_written_again_is_sent_after_a_kill_with_what_was_written_since(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, sending=False) as one:
        await one.write("/journal", b"base")
    async with machine(remote, tmp_path) as again:
        await again.drained()
    async with machine(remote, tmp_path, sending=False) as one:
        new, old = await one.open("/new", os.O_WRONLY | os.O_CREAT), await one.open("/journal", os.O_RDWR)
        for handle in (new, old):
            await one.fs.files.write(handle, 2, b"COMMIT 1")
            await one.fs.files.fsync(handle, data_only=False)
            await one.fs.files.write(handle, 10, b"x")
    async with machine(remote, tmp_path) as again:
        assert (again.recovered.to_send, again.recovered.aside) == (2, ())
        await again.drained()
        assert not list(again.fs.problems())
        assert await again.tree() == {"/journal": b"baCOMMIT 1x", "/new": b"\0\0COMMIT 1x"}


async def test_fsync_marks_the_sealed_content_as_synced(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        handle = await one.open("/db", os.O_WRONLY | os.O_CREAT)
        await one.fs.files.write(handle, 0, b"commit")
        await one.fs.files.fsync(handle, data_only=False)
        assert [(record.state, record.synced) for record in one.fs.outbox] == [(State.READY, True)]


class SlowStore(MemoryRemote):
    """The first store waits for `go_on` after it took its bytes."""

    def __init__(self, remote: MemoryRemote) -> None:
        super().__init__(remote.drive)
        self.began, self.go_on = trio.Event(), trio.Event()
        self.stored: list[bytes] = []

    async def store(self, put, source, **kwargs):  # type: ignore[no-untyped-def]
        self.began.set()
        await self.go_on.wait()
        self.stored.append(source.read(0, source.size_bytes))
        return await super().store(put, source, **kwargs)
