"""What changes of names take away, kills at bad moments, and what is left open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import Forbidden, TimedOut
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, Lost, ScriptedRemote, away

FIRST = b"first generation " * 100


async def patch(one: Machine, path: str, offset: int, data: bytes) -> None:
    await one.write(path, data, offset=offset, flags=0)


# --- what a change of names takes away --------------------------------------------------------------------------------


async def test_an_unlink_that_the_portal_refuses_shows_what_it_has_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, ttl_seconds=1) as one:
        await one.write("/a", b"old")
        await one.drained()
        remote.script.append(Forbidden("no"))
        await one.unlink("/a")
        assert await one.names() == []
        await one.drained()
        await trio.sleep(2)
        assert await one.tree() == {"/a": b"old"}
        assert [problem.reason for problem in one.fs.problems()] == ["no"]


@pytest.mark.parametrize("pending", ["new file", "new content"])
async def test_a_rename_over_pending_content_takes_it_away_at_once_and_sends_only_what_is_left(
    tmp_path: Path, autojump_clock: trio.abc.Clock, pending: str
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"a")
        if pending == "new content":
            await one.write("/b", b"old")
        await one.drained()
        remote.otherwise = lambda name: away() if name == "b" else None
        await one.write("/b", b"replaced")
        await one.rename("/a", "/b")
        assert await one.tree() == {"/b": b"a"}
        remote.otherwise = lambda _: None
        await one.drained()
        assert await one.tree() == {"/b": b"a"}
        assert remote.stored == {"b": b"a"}


async def test_a_rename_over_a_file_that_is_only_here_does_not_wait_for_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"a")
        await one.drained()
        handle = await one.open("/b", os.O_RDWR | os.O_CREAT)
        await one.fs.files.write(handle, 0, b"replaced")
        await one.rename("/a", "/b")
        assert await one.fs.files.read(handle, 0, 100) == b"replaced"
        await one.close(handle)
        await one.drained()
        assert remote.stored == {"b": b"a"}
        assert list((tmp_path / "staged").iterdir()) == []


async def test_an_unlinked_open_file_shows_its_newest_content_though_an_older_one_waits(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, sending = ScriptedRemote(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"one")
        await sending.reached.wait()
        handle = await one.open("/a", os.O_RDWR | os.O_TRUNC)
        await one.fs.files.write(handle, 0, b"second")
        remote.otherwise = lambda _: away()
        sending.step = away()
        sending.open()
        await trio.testing.wait_all_tasks_blocked()
        assert len(one.fs.outbox) == 2
        await one.unlink("/a")
        assert await one.fs.files.read(handle, 0, 100) == b"second"
        await one.close(handle)
        assert list((tmp_path / "staged").iterdir()) == []


# --- kills ------------------------------------------------------------------------------------------------------------


async def test_newer_content_of_a_new_file_that_arrived_before_the_kill_is_sent_by_the_next_mount(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, sending = ScriptedRemote(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"one")
        await sending.reached.wait()
        await one.write("/a", b"second")
        remote.otherwise = lambda _: away()
        sending.open()
        await trio.testing.wait_all_tasks_blocked()
        assert remote.stored == {"a": b"one"}
    remote.otherwise = lambda _: None
    async with machine(remote, tmp_path) as one:
        assert await one.tree() == {"/a": b"second"}
        await one.drained()
        assert not list(one.fs.problems())
        assert remote.stored == {"a": b"second"}


async def test_content_of_a_file_that_was_moved_before_the_kill_goes_to_its_new_place(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    for historical in (False, True):
        remote = ScriptedRemote(None, historical=historical)
        state = tmp_path / str(historical)
        async with machine(remote, state) as one:
            await one.mkdir("/d")
            await one.write("/a", b"one")
            await one.drained()
            handle = await one.open("/a", os.O_WRONLY | os.O_TRUNC)
            await one.fs.files.write(handle, 0, b"second")
            await one.fs.files.flush(handle)
            await one.rename("/a", "/d/b")
        async with machine(remote, state) as one:
            await one.drained()
            assert not list(one.fs.problems())
            assert await one.tree() == {"/d": None, "/d/b": b"second"}
            assert remote.stored == {"b": b"second"}


async def test_a_lost_answer_and_a_kill_make_no_conflict(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote(None, Lost(TimedOut("no answer", applied=None)))
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"one")
        await trio.testing.wait_all_tasks_blocked()
        remote.otherwise = lambda _: away()
        await one.write("/a", b"second")
    remote.otherwise = lambda _: None
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert not list(one.fs.problems())
        assert remote.stored == {"a": b"second"}


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_thousands_of_pending_files_need_few_descriptors(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, sending=False) as one:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(600):
            await one.write(f"/{number}", str(number).encode())
        assert len(os.listdir("/proc/self/fd")) - before <= 201
        assert await one.read("/0") == b"0"
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert len(remote.drive.files) == 600


async def test_nothing_is_left_open_when_all_is_sent(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await one.write("/a", FIRST)
            await patch(one, "/a", 1, b"x")
            await one.drained()
            await patch(one, "/a", 2, b"y")
            handle = await one.open("/a", os.O_RDWR)
            await one.unlink("/a")
            await one.fs.files.write(handle, 0, b"z")
            await one.close(handle)
        await one.drained()
        assert len(os.listdir("/proc/self/fd")) == before
        assert list((tmp_path / "staged").iterdir()) == []


async def test_the_time_of_the_last_write_goes_with_the_content(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"one")
        first = (await one.find("/a")).mtime_ns
        await one.write("/a", b"second")
        later = (await one.find("/a")).mtime_ns
        assert later > first
        await one.drained()
        assert [node.attributes.mtime_ns for node in remote.drive.files] == [later]
        assert (await one.find("/a")).mtime_ns == later
