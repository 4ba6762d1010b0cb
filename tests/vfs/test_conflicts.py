"""Two machines and one drive, row by row of docs/semantics.md's table of conflicts, on both kinds of portal."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.vfs.entry import Wanted
from bitcasafs.vfs.nodes import ROOT
from tests.support.machine import ME, Machine, machine

COPY = "(conflict from desk 2023-11-14)"


@dataclass
class Pair:
    """`ours` does not send until `send` is called; `theirs` does. Both know the drive as it was."""

    remote: MemoryRemote
    ours: Machine
    theirs: Machine

    async def meanwhile(self) -> None:
        """Theirs is on the portal."""
        await self.theirs.drained()

    async def send(self) -> None:
        """Ours meets theirs, and both look again."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.ours.fs.scheduler.run)
            await self.ours.drained()
            nursery.cancel_scope.cancel()
        await trio.sleep(100)

    async def both(self) -> dict[str, bytes | None]:
        """The tree, which is one for both."""
        ours, theirs = dict(await self.ours.tree()), dict(await self.theirs.tree())
        assert ours == theirs
        return ours

    def problems(self) -> list[str]:
        return [problem.reason for problem in self.ours.fs.problems()]

    def said(self) -> list[str]:
        return [f"{notice.path}: {notice.text}" for notice in self.ours.fs.notices.list()]


@pytest.fixture(params=[False, True], ids=["extended", "historical"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path, autojump_clock: trio.abc.Clock) -> AsyncIterator[Pair]:
    remote = MemoryRemote(MemoryDrive(), historical=request.param)
    async with (
        machine(remote, tmp_path / "ours", sending=False, ttl_seconds=50, host="desk") as ours,
        machine(remote, tmp_path / "theirs", ttl_seconds=50, host="laptop") as theirs,
    ):
        await theirs.write("/a.txt", b"base")
        await theirs.write("/b.txt", b"other base")
        await theirs.mkdir("/d")
        await theirs.write("/d/inside", b"inside")
        await theirs.mkdir("/e")
        await theirs.drained()
        await ours.tree()
        await theirs.tree()
        yield Pair(remote, ours, theirs)


BASE: dict[str, bytes | None] = {
    "/a.txt": b"base",
    "/b.txt": b"other base",
    "/d": None,
    "/d/inside": b"inside",
    "/e": None,
}


def base(*without: str, **more: bytes | None) -> dict[str, bytes | None]:
    kept = {path: data for path, data in BASE.items() if path not in without}
    return kept | {f"/{name}": data for name, data in more.items()}


async def test_new_content_that_is_equal_is_success_without_a_copy(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.write("/a.txt", b"the same new text")
    await pair.theirs.write("/a.txt", b"the same new text")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/a.txt": b"the same new text"}
    assert not pair.problems()


async def test_a_new_file_that_is_equal_is_success_without_a_copy(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.write("/new", b"the same")
    await pair.theirs.write("/new", b"the same")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base(new=b"the same")
    assert not pair.problems()


async def test_of_two_new_contents_theirs_keeps_the_name_and_ours_is_a_copy(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    number = (await pair.ours.find("/a.txt")).number
    handle = await pair.ours.open("/a.txt", os.O_RDWR)
    await pair.ours.fs.files.write(handle, 0, b"OURS")
    await pair.ours.fs.files.flush(handle)
    await pair.theirs.write("/a.txt", b"theirs, longer")
    await pair.meanwhile()
    reader = await pair.ours.open("/a.txt", os.O_RDONLY)
    await pair.ours.fs.files.release(handle)
    await pair.send()
    assert await pair.both() == base() | {"/a.txt": b"theirs, longer", f"/a {COPY}.txt": b"OURS"}
    assert (await pair.ours.find(f"/a {COPY}.txt")).number == number
    assert (await pair.ours.find("/a.txt")).number != number
    assert await pair.ours.fs.files.read(reader, 0, 100) == b"OURS"
    await pair.ours.fs.files.release(reader)
    assert not pair.problems()
    assert pair.said()


async def test_later_changes_of_ours_go_with_the_copy(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.write("/a.txt", b"ours")
    entry = await pair.ours.find("/a.txt")
    await pair.ours.rename("/a.txt", "/d/renamed.txt")
    await pair.ours.fs.attributes.set(entry.number, Wanted(permissions=0o640))
    await pair.theirs.write("/a.txt", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/a.txt": b"theirs", "/d/renamed.txt": b"ours"}
    assert (await pair.ours.find("/d/renamed.txt")).permissions == 0o640
    assert not pair.problems()


async def test_a_part_written_into_a_base_that_changed_makes_a_whole_copy(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.write("/b.txt", b"OTHER", offset=0, flags=0)
    await pair.theirs.write("/b.txt", b"theirs")
    await pair.meanwhile()
    await pair.send()
    tree = await pair.both()
    assert tree["/b.txt"] == b"theirs"
    assert tree.get(f"/b {COPY}.txt") == b"OTHER base"


async def test_content_of_what_was_deleted_there_is_created_again(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.write("/a.txt", b"ours")
    await pair.theirs.unlink("/a.txt")
    await pair.meanwhile()
    assert (await pair.ours.tree())["/a.txt"] == b"ours"
    await pair.send()
    assert await pair.both() == base() | {"/a.txt": b"ours"}
    assert not pair.problems()
    assert "made again" in pair.said()[0]


async def test_content_in_a_folder_that_was_deleted_there_brings_the_folders_back(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.write("/d/inside", b"ours")
    await pair.ours.write("/d/more", b"more")
    await pair.ours.mkdir("/d/deeper")
    await pair.ours.write("/d/deeper/deep", b"deep")
    await pair.theirs.unlink("/d/inside")
    await pair.theirs.rmdir("/d")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {
        "/d/inside": b"ours", "/d/more": b"more", "/d/deeper": None, "/d/deeper/deep": b"deep",
    }  # fmt: skip
    assert not pair.problems()


async def test_content_goes_to_a_file_that_was_renamed_there_in_its_folder(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.write("/a.txt", b"ours")
    await pair.theirs.rename("/a.txt", "/renamed.txt")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/a.txt") | {"/renamed.txt": b"ours"}
    assert not pair.problems()


async def test_content_goes_to_a_file_that_was_moved_there(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.write("/a.txt", b"ours")
    await pair.theirs.rename("/a.txt", "/d/moved.txt")
    await pair.meanwhile()
    await pair.send()
    tree = await pair.both()
    if pair.remote.historical:  # nothing tells that it is the same file: ours is made again, theirs stays
        assert tree == base() | {"/a.txt": b"ours", "/d/moved.txt": b"base"}
    else:
        assert tree == base("/a.txt") | {"/d/moved.txt": b"ours"}
    assert not pair.problems()


async def test_content_in_a_folder_that_was_renamed_there_goes_along(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.write("/d/inside", b"ours")
    await pair.theirs.rename("/d", "/dd")
    await pair.meanwhile()
    await pair.send()
    tree = await pair.both()
    if pair.remote.historical:
        assert tree == base() | {"/d/inside": b"ours", "/dd": None, "/dd/inside": b"inside"}
    else:
        assert tree == base("/d", "/d/inside") | {"/dd": None, "/dd/inside": b"ours"}
    assert not pair.problems()


async def test_a_delete_of_what_was_changed_there_is_given_up(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.unlink("/a.txt")
    assert "/a.txt" not in await pair.ours.tree()
    await pair.theirs.write("/a.txt", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/a.txt": b"theirs"}
    assert "was not deleted" in pair.said()[0]
    assert not pair.problems()


async def test_rmdir_of_what_is_not_empty_any_more_is_given_up_and_strangers_stay(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.unlink("/d/inside")
    await pair.ours.rmdir("/d")
    await pair.theirs.write("/d/stranger", b"stranger")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/d/inside") | {"/d/stranger": b"stranger"}
    assert "was not deleted" in pair.said()[0]
    assert not pair.problems()


async def test_of_two_renames_ours_wins(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.rename("/a.txt", "/ours.txt")
    await pair.theirs.rename("/a.txt", "/theirs.txt")
    await pair.meanwhile()
    await pair.send()
    tree = await pair.both()
    if pair.remote.historical:  # what has no identity looks deleted: theirs stays
        assert tree == base("/a.txt") | {"/theirs.txt": b"base"}
    else:
        assert tree == base("/a.txt") | {"/ours.txt": b"base"}
    assert not pair.problems()


async def test_a_rename_of_what_was_deleted_there_is_dropped(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.rename("/a.txt", "/ours.txt")
    await pair.theirs.unlink("/a.txt")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/a.txt")
    assert not pair.problems()


async def test_a_rename_of_what_was_deleted_there_keeps_pending_content_under_our_name(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.write("/a.txt", b"ours")
    await pair.ours.rename("/a.txt", "/ours.txt")
    await pair.theirs.unlink("/a.txt")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/a.txt") | {"/ours.txt": b"ours"}
    assert not pair.problems()


async def test_a_new_file_whose_name_was_taken_there_is_a_copy(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.write("/new.txt", b"ours")
    await pair.theirs.write("/new.txt", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/new.txt": b"theirs", f"/new {COPY}.txt": b"ours"}
    assert not pair.problems()


async def test_a_rename_to_a_name_that_was_taken_there_gets_a_name_of_its_own(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.rename("/a.txt", "/new.txt")
    await pair.theirs.write("/new.txt", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/a.txt") | {"/new.txt": b"theirs", f"/new {COPY}.txt": b"base"}
    assert not pair.problems()


async def test_a_rename_over_what_was_changed_there_gets_a_name_of_its_own(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.rename("/a.txt", "/b.txt")
    await pair.theirs.write("/b.txt", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/a.txt") | {"/b.txt": b"theirs", f"/b {COPY}.txt": b"base"}
    assert not pair.problems()


async def test_a_rename_over_what_was_deleted_there_takes_the_name(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.rename("/a.txt", "/b.txt")
    await pair.theirs.unlink("/b.txt")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/a.txt") | {"/b.txt": b"base"}
    assert not pair.problems()


async def test_a_save_by_rename_over_what_was_changed_there_is_a_copy(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.write("/.b.tmp", b"ours")
    await pair.ours.rename("/.b.tmp", "/b.txt")
    await pair.theirs.write("/b.txt", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/b.txt": b"theirs", f"/b {COPY}.txt": b"ours"}
    assert not pair.problems()


async def test_two_folders_of_one_name_become_one(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.mkdir("/new")
    await pair.ours.write("/new/ours", b"ours")
    await pair.theirs.mkdir("/new")
    await pair.theirs.write("/new/theirs", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/new": None, "/new/ours": b"ours", "/new/theirs": b"theirs"}
    assert not pair.problems()


async def test_a_folder_whose_name_a_file_took_there_gets_a_name_of_its_own(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.mkdir("/new")
    await pair.ours.write("/new/ours", b"ours")
    await pair.theirs.write("/new", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/new": b"theirs", f"/new {COPY}": None, f"/new {COPY}/ours": b"ours"}
    assert not pair.problems()


async def test_a_delete_of_what_was_moved_there_deletes_it_where_it_is(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.unlink("/a.txt")
    await pair.theirs.rename("/a.txt", "/d/moved.txt")
    await pair.meanwhile()
    await pair.send()
    tree = await pair.both()
    if pair.remote.historical:  # equal files share ids there: what has another name is another file
        assert tree == base("/a.txt") | {"/d/moved.txt": b"base"}
    else:
        assert tree == base("/a.txt")
    assert not pair.problems()


async def test_a_folder_that_would_move_into_itself_is_a_problem_and_shown_where_theirs_is(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.rename("/d", "/e/d")
    await pair.theirs.rename("/e", "/d/e")
    await pair.meanwhile()
    await pair.send()
    if pair.remote.historical:  # the folder that it was to move into looks deleted there: it is made again
        assert await pair.both() == base("/d", "/d/inside") | {"/e/d": None, "/e/d/e": None, "/e/d/inside": b"inside"}
        return
    assert len(pair.problems()) == 1
    assert await pair.both() == base("/e") | {"/d/e": None}


async def test_attributes_are_merged_by_field(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    ours, theirs = (await pair.ours.find("/a.txt")).number, (await pair.theirs.find("/a.txt")).number
    await pair.ours.fs.attributes.set(ours, Wanted(permissions=0o600))
    await pair.theirs.fs.attributes.set(theirs, Wanted(permissions=0o666, mtime_ns=5))
    await pair.meanwhile()
    await pair.send()
    ours_entry, theirs_entry = await pair.ours.find("/a.txt"), await pair.theirs.find("/a.txt")
    assert ours_entry.permissions == 0o600
    assert theirs_entry.mtime_ns == 5
    if not pair.remote.historical:  # such a portal keeps none: each machine has its own
        assert theirs_entry.permissions == 0o600
        assert ours_entry.mtime_ns == 5


async def test_a_delete_of_what_was_deleted_there_is_success(pair: Pair, autojump_clock: trio.abc.Clock) -> None:
    await pair.ours.unlink("/a.txt")
    await pair.theirs.unlink("/a.txt")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base("/a.txt")
    assert not pair.problems()
    assert not pair.said()


async def test_a_link_whose_name_was_taken_there_gets_a_name_of_its_own(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    await pair.ours.fs.names.symlink(ROOT, "new", "d/inside", ME)
    await pair.theirs.write("/new", b"theirs")
    await pair.meanwhile()
    await pair.send()
    assert (await pair.ours.tree())[f"/new {COPY}"] == b"-> d/inside"
    assert (await pair.theirs.tree())["/new"] == b"theirs"
    assert not pair.problems()


async def test_content_of_what_was_deleted_there_takes_its_attributes_along(
    pair: Pair, autojump_clock: trio.abc.Clock
) -> None:
    entry = await pair.ours.find("/a.txt")
    await pair.ours.fs.attributes.set(entry.number, Wanted(permissions=0o600))
    await pair.ours.write("/a.txt", b"ours")
    await pair.theirs.unlink("/a.txt")
    await pair.meanwhile()
    await pair.send()
    assert await pair.both() == base() | {"/a.txt": b"ours"}
    if not pair.remote.historical:  # this machine forgets what it kept of a file that is gone
        assert (await pair.ours.find("/a.txt")).permissions == 0o600
    assert not pair.problems()
