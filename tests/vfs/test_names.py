"""Names: the overlay of pending files and the portal's listing, through every kind of rename and removal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import Exists, IsFolder, Loop, NotEmpty, NotFolder, NotFound, Unreachable
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Address, Kind, Listing
from bitcasafs.vfs.entry import Absent, Wanted
from bitcasafs.vfs.names import RENAME_EXCHANGE, RENAME_NOREPLACE
from bitcasafs.vfs.nodes import ROOT
from tests.support.machine import ME, machine
from tests.support.scripted import ScriptedRemote, away


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote(MemoryDrive())


async def test_folders_links_and_files_come_out_on_another_machine(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.mkdir("/photos")
        await one.mkdir("/photos/2013")
        await one.write("/photos/2013/märz.jpg", b"jpeg")
        await one.fs.names.symlink(ROOT, "best", "photos/2013/märz.jpg", ME)
        await one.drained()
        wanted = {
            "/best": "-> photos/2013/märz.jpg".encode(),
            "/photos": None,
            "/photos/2013": None,
            "/photos/2013/märz.jpg": b"jpeg",
        }
        assert await one.tree() == wanted
        assert await two.tree() == wanted


async def test_a_pending_file_is_renamed_where_it_is(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, sending=False) as one:
        await one.write("/draft", b"text")
        await one.rename("/draft", "/final")
        assert await one.tree() == {"/final": b"text"}
        assert len(one.fs.outbox) == 1


async def test_save_by_rename_while_the_new_file_is_still_open_replaces_the_old_one_in_one_step(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/report", b"old")
        await one.drained()
        before = (await remote.list((await remote.roots()).items[0].address)).items[0].node
        handle = await one.open("/.report.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        await one.fs.files.write(handle, 0, b"new")
        await one.rename("/.report.tmp", "/report")
        assert await one.names() == ["report"]
        await one.close(handle)
        await one.drained()
        assert await two.tree() == {"/report": b"new"}
        after = (await remote.list((await remote.roots()).items[0].address)).items[0].node
        assert after == before  # its history survives


async def test_rename_replaces_files_and_empty_folders_and_nothing_else(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        for folder in ("/full", "/empty", "/moving"):
            await one.mkdir(folder)
        await one.write("/full/child", b"")
        await one.write("/file", b"file")
        await one.write("/other", b"other")
        await one.drained()
        with pytest.raises(NotEmpty):
            await one.rename("/moving", "/full")
        with pytest.raises(NotFolder):
            await one.rename("/moving", "/file")
        with pytest.raises(IsFolder):
            await one.rename("/file", "/empty")
        with pytest.raises(Exists):
            await one.rename("/file", "/other", RENAME_NOREPLACE)
        with pytest.raises(NotFound):
            await one.rename("/nothing", "/other")
        with pytest.raises(NotFound):
            await one.rename("/file", "/nothing", RENAME_EXCHANGE)
        with pytest.raises(Loop):
            await one.rename("/full", "/full/inside")
        await one.rename("/moving", "/empty")
        await one.rename("/file", "/other")
        assert await one.tree() == {"/empty": None, "/full": None, "/full/child": b"", "/other": b"file"}


async def test_a_name_that_is_saved_to_again_and_again_by_rename_never_comes_back(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/x", b"1")
        await one.drained()
    async with machine(remote, tmp_path, sending=False) as one:
        await one.rename("/x", "/y")
        await one.write("/x", b"2")
        await one.rename("/x", "/y")  # the first is on the portal still under its old name, and was to be moved
        assert await one.tree() == {"/y": b"2"}
    async with machine(remote, tmp_path) as one:
        assert await one.tree() == {"/y": b"2"}
        await one.drained()
        assert await one.tree() == {"/y": b"2"}
    async with machine(remote, tmp_path / "two") as two:
        assert await two.tree() == {"/y": b"2"}


async def test_a_folder_that_was_made_just_before_a_kill_is_found_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        remote.otherwise = lambda name: away() if name == "late" else None
        await one.mkdir("/d")
        await one.mkdir("/d/e")
        await one.write("/d/e/late", b"late")
        await trio.sleep(5)
    remote.otherwise = lambda _: None
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert await one.tree() == {"/d": None, "/d/e": None, "/d/e/late": b"late"}
        assert not list(one.fs.problems())
        assert not one.fs.notices.list()


async def test_exchange_swaps_two_names(remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/a", b"was a")
        await one.write("/b", b"was b")
        await one.drained()
        await one.rename("/a", "/b", RENAME_EXCHANGE)
        assert await one.tree() == {"/a": b"was b", "/b": b"was a"}
        await one.drained()
        assert await one.tree() == await two.tree() == {"/a": b"was b", "/b": b"was a"}


async def test_a_folder_is_removed_only_when_it_is_empty(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        await one.mkdir("/d")
        await one.write("/d/pending", b"x")
        with pytest.raises(NotEmpty):
            await one.rmdir("/d")
        with pytest.raises(IsFolder):
            await one.unlink("/d")
        await one.unlink("/d/pending")
        await one.rmdir("/d")
        assert await one.names() == []


async def test_o_excl_and_mkdir_refuse_a_name_that_is_taken_by_a_pending_file(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, sending=False) as one:
        await one.write("/lock", b"")
        with pytest.raises(Exists):
            await one.open("/lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        with pytest.raises(Exists):
            await one.mkdir("/lock")


async def test_inode_numbers_survive_upload_rename_and_new_content(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"1")
        number = (await one.find("/a")).number
        await one.drained()
        await one.rename("/a", "/b")
        await one.write("/b", b"22")
        await one.drained()
        assert (await one.find("/b")).number == number


async def test_forty_lookups_of_an_expired_listing_ask_the_portal_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = CountedLists(MemoryDrive())
    async with machine(remote, tmp_path, ttl_seconds=5) as one:
        await one.write("/a", b"")
        await one.drained()
        await trio.sleep(6)
        remote.lists = 0
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(one.fs.names.lookup, ROOT, "a")
        assert remote.lists == 1
        await one.find("/a")
        assert isinstance(await one.fs.names.lookup(ROOT, "nothing"), Absent)
        assert remote.lists == 1  # absent names are answered from a complete listing


async def test_an_expired_listing_is_served_while_the_portal_is_away(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = CountedLists(MemoryDrive())
    async with machine(remote, tmp_path, ttl_seconds=5) as one:
        await one.write("/a", b"")
        await one.drained()
        remote.away = True
        await trio.sleep(60)
        assert await one.names() == ["a"]


async def test_while_the_portal_is_away_every_change_of_names_is_made_and_seen_at_once_and_sent_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = CountedLists(MemoryDrive())
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.mkdir("/old")
        for name in "abc":
            await one.write(f"/old/{name}", name.encode())
        await one.drained()
        await one.tree()
        remote.away = True
        began = trio.current_time()
        await one.mkdir("/new")
        await one.rename("/old/a", "/new/a")
        await one.rename("/old", "/new/old")
        await one.unlink("/new/old/b")
        await one.fs.names.symlink(ROOT, "link", "new/a", ME)
        await one.write("/new/old/d", b"d")
        entry = await one.find("/new/old/c")
        await one.fs.attributes.set(entry.number, Wanted(permissions=0o600))
        await one.mkdir("/short")
        await one.rmdir("/short")
        assert trio.current_time() == began
        wanted = {
            "/link": b"-> new/a",
            "/new": None,
            "/new/a": b"a",
            "/new/old": None,
            "/new/old/c": b"c",
            "/new/old/d": b"d",
        }
        assert await one.tree() == wanted
        remote.away = False
        await one.drained()
        assert await one.tree() == wanted
        assert await two.tree() == wanted
        assert (await two.find("/new/old/c")).permissions == 0o600


async def test_rows_keep_their_cookies_while_the_folder_changes(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path) as one:
        for name in "abcde":
            await one.write(f"/{name}", b"")
        handle = await one.fs.folders.open(ROOT)
        first = [row for row, _ in zip(one.fs.folders.rows(handle, 0), range(2), strict=False)]
        await one.unlink("/a")
        await one.write("/f", b"")
        rest = list(one.fs.folders.rows(handle, first[-1].cookie))
        assert [row.name for row in (*first, *rest)] == list("abcde")
        assert {row.entry.kind for row in rest} == {Kind.FILE}
        one.fs.folders.release(handle)


async def test_the_kernel_may_believe_an_entry_until_its_listing_expires(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, ttl_seconds=10) as one:
        await one.write("/a", b"")
        await trio.sleep(4)
        entry = await one.fs.names.lookup(ROOT, "a")
        assert entry.entry_timeout_seconds == pytest.approx(6, abs=0.01)
        await trio.sleep(5)
        assert (await one.fs.names.lookup(ROOT, "b")).entry_timeout_seconds == pytest.approx(1, abs=0.01)


class CountedLists(MemoryRemote):
    def __init__(self, drive: MemoryDrive) -> None:
        super().__init__(drive)
        self.lists = 0
        self.away = False

    async def list(self, folder: Address) -> Listing:
        self.lists += 1
        await trio.sleep(1)
        if self.away:
            raise Unreachable("the portal is away", applied=False)
        return await super().list(folder)

    async def apply(self, operations):  # type: ignore[no-untyped-def]
        if self.away:
            raise Unreachable("the portal is away", applied=False)
        return await super().apply(operations)
