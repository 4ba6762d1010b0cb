"""Content between its writers and its sending: copies, holes, unlinked files, and kills in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import Forbidden, NotFound, TimedOut, Unreachable
from bitcasafs.vfs.entry import Wanted
from bitcasafs.writing.change import State
from bitcasafs.writing.staging import StagedFile, Staging
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, Lost, ScriptedRemote

FIRST = b"first generation " * 100


def stored(remote: ScriptedRemote) -> dict[str, bytes]:
    return {node.name: remote.drive.contents[str(node.version)].data for node in remote.drive.files}


class SlowCopies(Staging):
    """Copies are made at once and handed over when `gate` is open, as those of a large file are."""

    gate = Gate()

    async def copy(self, original: StagedFile, serial: int, name: str) -> StagedFile:
        copy = await super().copy(original, serial, name)
        await self.gate.passed()
        return copy


def slow_copies() -> type[SlowCopies]:
    return type("SlowCopiesOfOneTest", (SlowCopies,), {"gate": Gate()})


async def patch(one: Machine, path: str, offset: int, data: bytes) -> None:
    await one.write(path, data, offset=offset, flags=0)


# --- a copy that races with what becomes of its original --------------------------------------------------------------


@pytest.mark.parametrize("before", [None, b"short"])
async def test_a_write_while_the_original_arrives_keeps_all_of_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock, before: bytes | None
) -> None:
    remote, slow, sending = ScriptedRemote(), slow_copies(), Gate()
    async with machine(remote, tmp_path, make_staging=slow) as one:
        if before is not None:
            await one.write("/a", before)
            await one.drained()
        remote.script.append(sending)
        await one.write("/a", FIRST)
        await sending.reached.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patch, one, "/a", 5, b"PATCH")
            await slow.gate.reached.wait()
            sending.open()
            await trio.testing.wait_all_tasks_blocked()
            assert stored(remote) == {"a": FIRST}
            slow.gate.open()
        wanted = FIRST[:5] + b"PATCH" + FIRST[10:]
        assert await one.read("/a") == wanted
        await one.drained()
        assert stored(remote) == {"a": wanted}
        assert list((tmp_path / "staged").iterdir()) == []


async def test_two_writers_while_the_sending_fails_lose_nothing_of_each_other(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, slow, sending = ScriptedRemote(), slow_copies(), Gate()
    remote.script.extend([sending])
    async with machine(remote, tmp_path, make_staging=slow) as one:
        await one.write("/a", FIRST)
        await sending.reached.wait()
        remote.otherwise = lambda _: Unreachable("away", applied=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patch, one, "/a", 0, b"ONE")
            await slow.gate.reached.wait()
            sending.step = Unreachable("away", applied=False)
            sending.open()
            await trio.testing.wait_all_tasks_blocked()
            assert [record.state for record in one.fs.outbox] == [State.READY]
            nursery.start_soon(patch, one, "/a", 50, b"TWO")
            await trio.testing.wait_all_tasks_blocked()
            slow.gate.open()
        wanted = b"ONE" + FIRST[3:50] + b"TWO" + FIRST[53:]
        assert await one.read("/a") == wanted
        remote.otherwise = lambda _: None
        await one.drained()
        assert stored(remote) == {"a": wanted}
        assert list((tmp_path / "staged").iterdir()) == []


async def test_an_unlink_while_a_copy_is_made_leaves_the_file_to_its_handles(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, slow, sending = ScriptedRemote(), slow_copies(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path, make_staging=slow) as one:
        await one.write("/a", FIRST)
        await sending.reached.wait()
        remote.otherwise = lambda _: Unreachable("away", applied=False)
        handle = await one.open("/a", os.O_RDWR)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.fs.files.write, handle, 0, b"WRITTEN")
            await slow.gate.reached.wait()
            sending.step = Unreachable("away", applied=False)
            sending.open()
            await trio.testing.wait_all_tasks_blocked()
            await one.unlink("/a")
            slow.gate.open()
        assert await one.fs.files.read(handle, 0, 10_000) == b"WRITTEN" + FIRST[7:]
        await one.close(handle)
        assert len(one.fs.outbox) == 0
        assert list((tmp_path / "staged").iterdir()) == []


async def test_a_rename_between_the_tries_carries_every_generation_along(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, sending = ScriptedRemote(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path) as one:
        await one.write("/draft", b"one")
        await sending.reached.wait()
        await one.write("/draft", b"second")
        remote.otherwise = lambda _: Unreachable("away", applied=False)
        sending.step = Unreachable("away", applied=False)
        sending.open()
        await trio.testing.wait_all_tasks_blocked()
        await one.rename("/draft", "/final")
        assert await one.tree() == {"/final": b"second"}
        remote.otherwise = lambda _: None
        await one.drained()
        assert stored(remote) == {"final": b"second"}
        assert await one.tree() == {"/final": b"second"}


async def test_attributes_set_while_a_copy_is_made_are_kept(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote, slow, sending = ScriptedRemote(), slow_copies(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path, make_staging=slow) as one:
        await one.write("/a", FIRST)
        await sending.reached.wait()
        remote.otherwise = lambda _: Unreachable("away", applied=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patch, one, "/a", 0, b"x")
            await slow.gate.reached.wait()
            sending.step = Unreachable("away", applied=False)
            sending.open()
            await trio.testing.wait_all_tasks_blocked()
            await one.fs.attributes.set((await one.find("/a")).number, Wanted(permissions=0o600))
            slow.gate.open()
        remote.otherwise = lambda _: None
        await one.drained()
        assert (await one.find("/a")).permissions == 0o600
        assert [node.attributes.mode for node in remote.drive.files] == [0o600]


# --- holes ------------------------------------------------------------------------------------------------------------


async def test_holes_are_fetched_before_the_content_is_sent_and_nothing_else_is(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", bytes(100_000))
        await one.drained()
        await patch(one, "/a", 40_000, b"x" * 20_000)
        await one.drained()
        assert remote.fetched == [(0, 40_000), (60_000, 100_000)]
        assert stored(remote) == {"a": bytes(40_000) + b"x" * 20_000 + bytes(40_000)}


async def test_newer_content_with_holes_is_filled_from_what_replaced_its_base(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The version below is gone from the portal once the first content arrived."""
    remote, filling = ScriptedRemote(), Gate()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", FIRST)
        await one.drained()
        base = list(remote.drive.contents)
        remote.before_fetch = filling
        await patch(one, "/a", 0, b"ONE")
        await filling.reached.wait()
        await patch(one, "/a", 50, b"TWO")  # a copy that has the holes of its original
        remote.before_fetch = None
        remote.after_store = lambda: [remote.drive.contents.pop(one, None) for one in base]
        filling.open()
        await one.drained()
        assert not list(one.fs.problems())
        assert stored(remote) == {"a": b"ONE" + FIRST[3:50] + b"TWO" + FIRST[53:]}


async def test_content_over_a_base_that_is_gone_is_kept_as_a_problem_and_never_padded(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", FIRST)
        await one.drained()
        handle = await one.open("/a", os.O_WRONLY)
        await one.fs.files.write(handle, 10, b"PATCH")
        remote.drive.contents.clear()
        await one.close(handle)
        await one.drained()
        assert [request.what for request in remote.requests] == ["store"]
        assert len(list(one.fs.problems())) == 1


async def test_content_that_was_never_closed_still_knows_its_holes_after_a_kill(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """It is a problem; whoever goes on writing to it must not send zeros for what was never here."""
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", FIRST)
        await one.drained()
        handle = await one.open("/a", os.O_WRONLY)
        await one.fs.files.write(handle, 10, b"PATCH")
        await one.fs.files.fsync(handle, data_only=False)
        await one.fs.files.write(handle, 100, b"NEVER CLOSED")
        await one.fs.attributes.set((await one.find("/a")).number, Wanted(size_bytes=1000), handle)
    wanted = FIRST[:10] + b"PATCH" + FIRST[15:100] + b"NEVER CLOSED" + FIRST[112:1000]
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert stored(remote) == {"a": FIRST}
        assert [problem.path for problem in one.fs.problems()] == ["a"]
        assert await one.read("/a") == wanted
        await one.write("/a", b"and on", flags=os.O_APPEND)
        await one.drained()
        assert stored(remote) == {"a": wanted + b"and on"}


# --- what a change of names takes away --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Unreachable("away", applied=False), Forbidden("no")])
async def test_an_unlink_that_fails_leaves_what_was_written(
    tmp_path: Path, autojump_clock: trio.abc.Clock, error: Exception
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"old")
        await one.drained()
        handle = await one.open("/a", os.O_WRONLY)
        await one.fs.files.write(handle, 0, b"NEW")
        await one.fs.files.flush(handle)
        remote.script.append(error)  # type: ignore[arg-type]
        with pytest.raises(type(error)):
            await one.unlink("/a")
        await one.close(handle)
        await one.drained()
        assert stored(remote) == {"a": b"NEW"}


@pytest.mark.parametrize("pending", ["new file", "new content"])
async def test_a_rename_that_fails_leaves_what_was_written_to_the_file_of_that_name(
    tmp_path: Path, autojump_clock: trio.abc.Clock, pending: str
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"a")
        if pending == "new content":
            await one.write("/b", b"old")
        await one.drained()
        remote.otherwise = lambda name: Unreachable("away", applied=False) if name == "b" else None
        await one.write("/b", b"precious")
        with pytest.raises(Unreachable):
            await one.rename("/a", "/b")
        assert await one.read("/b") == b"precious"
        remote.otherwise = lambda _: None
        await one.drained()
        assert stored(remote) == {"a": b"a", "b": b"precious"}
        await one.rename("/a", "/b")
        assert await one.tree() == {"/b": b"a"}
        assert stored(remote) == {"b": b"a"}


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
        assert stored(remote) == {"b": b"a"}
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
        remote.otherwise = lambda _: Unreachable("away", applied=False)
        sending.step = Unreachable("away", applied=False)
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
        remote.otherwise = lambda _: Unreachable("away", applied=False)
        sending.open()
        await trio.testing.wait_all_tasks_blocked()
        assert stored(remote) == {"a": b"one"}
    remote.otherwise = lambda _: None
    async with machine(remote, tmp_path) as one:
        assert await one.tree() == {"/a": b"second"}
        await one.drained()
        assert not list(one.fs.problems())
        assert stored(remote) == {"a": b"second"}


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
            assert stored(remote) == {"b": b"second"}


async def test_a_lost_answer_and_a_kill_make_no_conflict(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote(None, Lost(TimedOut("no answer", applied=None)))
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"one")
        await trio.testing.wait_all_tasks_blocked()
        remote.otherwise = lambda _: Unreachable("away", applied=False)
        await one.write("/a", b"second")
    remote.otherwise = lambda _: None
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert not list(one.fs.problems())
        assert stored(remote) == {"a": b"second"}


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


async def test_a_file_deleted_elsewhere_leaves_its_pending_content_as_a_problem(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path / "one", ttl_seconds=1) as one, machine(remote, tmp_path / "two") as two:
        await one.write("/a", b"old")
        await one.drained()
        handle = await one.open("/a", os.O_WRONLY)
        await one.fs.files.write(handle, 0, b"NEW")
        await two.unlink("/a")
        await trio.sleep(5)
        with pytest.raises(FileNotFoundError):
            await one.find("/a")
        await one.close(handle)
        await one.drained()
        problem = next(one.fs.problems())
        assert problem.staged is not None
        assert (tmp_path / "one" / "staged" / problem.staged).read_bytes() == b"NEW"
        with pytest.raises(NotFound):
            await one.unlink("/a")


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
