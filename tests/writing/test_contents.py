"""Content between its writers and its sending: copies, holes, unlinked files, and kills in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from bitcasafs.vfs.entry import Wanted
from bitcasafs.writing.change import State
from bitcasafs.writing.staging import StagedFile, Staging
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, ScriptedRemote, away

FIRST = b"first generation " * 100


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
            assert remote.stored == {"a": FIRST}
            slow.gate.open()
        wanted = FIRST[:5] + b"PATCH" + FIRST[10:]
        assert await one.read("/a") == wanted
        await one.drained()
        assert remote.stored == {"a": wanted}
        assert list((tmp_path / "staged").iterdir()) == []


async def test_two_writers_while_the_sending_fails_lose_nothing_of_each_other(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, slow, sending = ScriptedRemote(), slow_copies(), Gate()
    remote.script.extend([sending])
    async with machine(remote, tmp_path, make_staging=slow) as one:
        await one.write("/a", FIRST)
        await sending.reached.wait()
        remote.otherwise = lambda _: away()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patch, one, "/a", 0, b"ONE")
            await slow.gate.reached.wait()
            sending.step = away()
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
        assert remote.stored == {"a": wanted}
        assert list((tmp_path / "staged").iterdir()) == []


async def test_an_unlink_while_a_copy_is_made_leaves_the_file_to_its_handles(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, slow, sending = ScriptedRemote(), slow_copies(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path, make_staging=slow) as one:
        await one.write("/a", FIRST)
        await sending.reached.wait()
        remote.otherwise = lambda _: away()
        handle = await one.open("/a", os.O_RDWR)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.fs.files.write, handle, 0, b"WRITTEN")
            await slow.gate.reached.wait()
            sending.step = away()
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
        remote.otherwise = lambda _: away()
        sending.step = away()
        sending.open()
        await trio.testing.wait_all_tasks_blocked()
        await one.rename("/draft", "/final")
        assert await one.tree() == {"/final": b"second"}
        remote.otherwise = lambda _: None
        await one.drained()
        assert remote.stored == {"final": b"second"}
        assert await one.tree() == {"/final": b"second"}


async def test_attributes_set_while_a_copy_is_made_are_kept(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote, slow, sending = ScriptedRemote(), slow_copies(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path, make_staging=slow) as one:
        await one.write("/a", FIRST)
        await sending.reached.wait()
        remote.otherwise = lambda _: away()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patch, one, "/a", 0, b"x")
            await slow.gate.reached.wait()
            sending.step = away()
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
        assert remote.stored == {"a": bytes(40_000) + b"x" * 20_000 + bytes(40_000)}


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
        assert remote.stored == {"a": b"ONE" + FIRST[3:50] + b"TWO" + FIRST[53:]}


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


@pytest.mark.parametrize("synced", [True, False], ids=["synced before", "never sealed"])
async def test_content_that_was_never_closed_still_knows_its_holes_after_a_kill(
    tmp_path: Path, autojump_clock: trio.abc.Clock, synced: bool
) -> None:
    """Synced before, it is sent as it stands; never sealed, it is a file of its own. Nobody sends zeros for what was
    never here.
    """
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/a", FIRST)
        await one.drained()
        handle = await one.open("/a", os.O_WRONLY)
        await one.fs.files.write(handle, 10, b"PATCH")
        if synced:
            await one.fs.files.fsync(handle, data_only=False)
        await one.fs.files.write(handle, 100, b"NEVER CLOSED")
        await one.fs.attributes.set((await one.find("/a")).number, Wanted(size_bytes=1000), handle)
    wanted = FIRST[:10] + b"PATCH" + FIRST[15:100] + b"NEVER CLOSED" + FIRST[112:1000]
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert not list(one.fs.problems())
        name = "a" if synced else "a (recovered 2026-11-24)"
        assert remote.stored == {"a": FIRST} | {name: wanted}
        assert await one.tree() == {"/a": FIRST} | {f"/{name}": wanted}
        await one.write(f"/{name}", b"and on", flags=os.O_APPEND)
        await one.drained()
        assert remote.stored == {"a": FIRST} | {name: wanted + b"and on"}
