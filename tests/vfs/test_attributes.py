"""Modes, owners, times, links and extended attributes: on a portal that keeps them, and on one that does not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import Exists, NoAttribute, NoSpace, TooLarge
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Kind
from bitcasafs.vfs.attributes import XATTR_BYTES
from bitcasafs.vfs.entry import Wanted
from bitcasafs.vfs.nodes import ROOT
from tests.support.machine import ME, Machine, machine
from tests.support.scripted import Gate, ScriptedRemote

BOTH = pytest.mark.parametrize("historical", [False, True], ids=["extended", "historical"])


@pytest.fixture
def drive() -> MemoryDrive:
    return MemoryDrive()


async def change_all(one: Machine, path: str) -> None:
    number = (await one.find(path)).number
    await one.fs.attributes.set(number, Wanted(permissions=0o4711, uid=7, gid=8))
    await one.fs.attributes.set(number, Wanted(mtime_ns=1_000_000_007, atime_ns=2_000_000_009))
    await one.fs.attributes.set_xattr(number, "user.colour", b"blue\0")


async def assert_changed(one: Machine, path: str) -> None:
    entry = await one.find(path)
    assert (entry.permissions, entry.uid, entry.gid) == (0o4711, 7, 8)
    assert (entry.mtime_ns, entry.atime_ns) == (1_000_000_007, 2_000_000_009)
    assert await one.fs.attributes.list_xattrs(entry.number) == ["user.colour"]
    assert await one.fs.attributes.get_xattr(entry.number, "user.colour") == b"blue\0"


@BOTH
@pytest.mark.parametrize("moment", ["pending", "sent"])
async def test_attributes_survive_upload_rename_and_remount(
    drive: MemoryDrive, tmp_path: Path, autojump_clock: trio.abc.Clock, historical: bool, moment: str
) -> None:
    remote = MemoryRemote(drive, historical=historical)
    async with machine(remote, tmp_path, sending=moment == "sent") as one:
        await one.write("/file", b"content")
        if moment == "sent":
            await one.mkdir("/folder")
            await one.drained()
            await change_all(one, "/folder")
        await change_all(one, "/file")
        await assert_changed(one, "/file")
    async with machine(remote, tmp_path) as again:
        await again.drained()
        await again.rename("/file", "/renamed")
        await assert_changed(again, "/renamed")
        if moment == "sent":
            await assert_changed(again, "/folder")
            await again.rename("/folder", "/moved")
    async with machine(remote, tmp_path) as third:
        await assert_changed(third, "/renamed")
        if moment == "sent":
            await assert_changed(third, "/moved")


@BOTH
async def test_a_link_is_a_link_again_after_a_remount(
    drive: MemoryDrive, tmp_path: Path, autojump_clock: trio.abc.Clock, historical: bool
) -> None:
    remote = MemoryRemote(drive, historical=historical)
    async with machine(remote, tmp_path / "one") as one:
        await one.fs.names.symlink(ROOT, "link", "over/there", ME)
        await one.write("/empty", b"")
        await one.drained()
        wanted = {"/empty": b"", "/link": b"-> over/there"}
        assert await one.tree() == wanted
    async with machine(remote, tmp_path / "one") as again, machine(remote, tmp_path / "two") as stranger:
        assert await again.tree() == wanted
        # Another machine sees on a historical portal what the portal has: an empty file.
        assert (await stranger.find("/link")).kind is (Kind.FILE if historical else Kind.SYMLINK)
        await stranger.unlink("/link")
        await stranger.write("/link", b"a file now")
        await stranger.drained()
        await trio.sleep(60)
        assert await again.read("/link") == b"a file now"


@BOTH
async def test_numbers_survive_a_remount(
    drive: MemoryDrive, tmp_path: Path, autojump_clock: trio.abc.Clock, historical: bool
) -> None:
    remote = MemoryRemote(drive, historical=historical)
    async with machine(remote, tmp_path / "two") as other:
        for name in "abc":
            await other.write(f"/{name}", b"")
        await other.drained()
    async with machine(remote, tmp_path / "one") as one:
        await one.names()
        await one.mkdir("/d")
        await one.write("/d/mine", b"")
        await one.drained()
        await one.rename("/d", "/e")
        paths = ("/a", "/b", "/c", "/e", "/e/mine")
        numbers = {path: (await one.find(path)).number for path in paths}
        assert len(set(numbers.values())) == len(paths)
        await one.unlink("/a")
        gone = numbers.pop("/a")
    async with machine(remote, tmp_path / "one") as again:
        await again.write("/new", b"")
        assert {path: (await again.find(path)).number for path in numbers} == numbers
        assert (await again.find("/new")).number not in {gone, *numbers.values()}


@BOTH
async def test_times_of_another_machines_version_are_not_those_that_were_kept(
    drive: MemoryDrive, tmp_path: Path, autojump_clock: trio.abc.Clock, historical: bool
) -> None:
    remote = MemoryRemote(drive, historical=historical)
    async with machine(remote, tmp_path / "one", ttl_seconds=1) as one, machine(remote, tmp_path / "two") as two:
        await one.write("/file", b"first")
        await one.drained()
        await change_all(one, "/file")
        await one.drained()
        await two.write("/file", b"second")
        await two.drained()
        await trio.sleep(10)
        entry = await one.find("/file")
        assert entry.mtime_ns != 1_000_000_007
        assert entry.permissions == 0o4711


@pytest.fixture
async def one(drive: MemoryDrive, tmp_path: Path, autojump_clock: trio.abc.Clock) -> AsyncIterator[Machine]:
    async with machine(MemoryRemote(drive), tmp_path) as found:
        yield found


async def test_xattrs_are_made_replaced_and_removed_as_asked(one: Machine) -> None:
    await one.write("/file", b"")
    await one.drained()
    calls, number = one.fs.attributes, (await one.find("/file")).number
    with pytest.raises(NoAttribute):
        await calls.set_xattr(number, "user.a", b"1", os.XATTR_REPLACE)
    await calls.set_xattr(number, "user.a", b"1", os.XATTR_CREATE)
    with pytest.raises(Exists):
        await calls.set_xattr(number, "user.a", b"2", os.XATTR_CREATE)
    await calls.set_xattr(number, "user.a", b"2", os.XATTR_REPLACE)
    await calls.set_xattr(number, "user.b", b"")
    assert await calls.list_xattrs(number) == ["user.a", "user.b"]
    await calls.remove_xattr(number, "user.a")
    with pytest.raises(NoAttribute):
        await calls.remove_xattr(number, "user.a")
    with pytest.raises(NoAttribute):
        await calls.get_xattr(number, "user.a")
    assert await calls.get_xattr(number, "user.b") == b""


async def test_xattrs_removed_while_content_is_pending_are_gone_on_the_portal(
    drive: MemoryDrive, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = MemoryRemote(drive)
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/file", b"1")
        number = (await one.find("/file")).number
        await one.fs.attributes.set_xattr(number, "user.old", b"x")
        await one.drained()
        handle = await one.open("/file", os.O_WRONLY)
        await one.fs.files.write(handle, 0, b"2")
        await one.fs.attributes.remove_xattr(number, "user.old")
        await one.fs.attributes.set_xattr(number, "user.new", b"y")
        assert await one.fs.attributes.list_xattrs(number) == ["user.new"]
        await one.close(handle)
        await one.drained()
        there = await two.find("/file")
        assert await two.fs.attributes.list_xattrs(there.number) == ["user.new"]


async def test_xattrs_have_limits(one: Machine) -> None:
    await one.write("/file", b"")
    calls, number = one.fs.attributes, (await one.find("/file")).number
    with pytest.raises(TooLarge):
        await calls.set_xattr(number, "user.big", bytes(XATTR_BYTES + 1))
    await calls.set_xattr(number, "user.most", bytes(XATTR_BYTES - len("user.most")))
    with pytest.raises(NoSpace):
        await calls.set_xattr(number, "user.more", b"")


async def test_our_own_attributes_are_readable_and_never_listed(one: Machine) -> None:
    await one.write("/file", b"")
    number = (await one.find("/file")).number
    assert await one.fs.attributes.get_xattr(number, "user.bitcasafs.state") == b"pending"
    await one.drained()
    assert await one.fs.attributes.get_xattr(number, "user.bitcasafs.state") == b"remote"
    assert await one.fs.attributes.list_xattrs(number) == []


async def test_a_damaged_ledger_is_set_aside_and_the_mount_goes_on(
    drive: MemoryDrive, tmp_path: Path, autojump_clock: trio.abc.Clock, expected_logs
) -> None:  # type: ignore[no-untyped-def]
    expected_logs.allow("is damaged")
    remote = MemoryRemote(drive)
    async with machine(remote, tmp_path) as one:
        await one.write("/file", b"safe")
        await one.drained()
    (tmp_path / "nodes.sqlite3").write_bytes(b"not a database, not at all" * 400)
    async with machine(remote, tmp_path) as again:
        assert await again.read("/file") == b"safe"
    assert (tmp_path / "nodes.sqlite3.damaged").exists()


async def test_a_mode_that_was_set_while_older_content_was_on_its_way_outlives_newer_content(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    sending = Gate()
    remote = ScriptedRemote(None, sending)
    async with machine(remote, tmp_path) as one:
        await one.write("/file", b"first")
        await sending.reached.wait()
        number = (await one.find("/file")).number
        await one.fs.attributes.set(number, Wanted(permissions=0o600))
        await one.write("/file", b"second")
        assert (await one.find("/file")).permissions == 0o600
        sending.open()
        await one.drained()
        await trio.sleep(100)
        assert (await one.find("/file")).permissions == 0o600
        assert remote.stored == {"file": b"second"}
