"""`-o coherence=strict`: two machines that take one name, and what a portal's no leaves behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import BitcasaError, Exists, NotEmpty, QuotaExceeded, Unreachable, VersionMismatch
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, ScriptedRemote, away

EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL

Act = Callable[[Machine], Awaitable[object]]


async def create(one: Machine) -> None:
    handle = await one.open("/lock", EXCLUSIVE)
    await one.close(handle)


async def mkdir(one: Machine) -> None:
    await one.mkdir("/lock")


taking = pytest.mark.parametrize("take", [create, mkdir])


@pytest.fixture(params=[False, True], ids=["extended", "historical"])
def remote(request: pytest.FixtureRequest) -> ScriptedRemote:
    return ScriptedRemote(historical=request.param)


@asynccontextmanager
async def two(remote: ScriptedRemote, path: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    other = ScriptedRemote(remote.drive, historical=remote.historical)
    async with (
        machine(remote, path / "one", strict=True) as one,
        machine(other, path / "two", strict=True) as another,
    ):
        yield one, another


def left(path: Path) -> list[Path]:
    return list((path / "staged").iterdir())


@taking
async def test_it_is_on_the_portal_when_the_call_returns(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock, take: Act
) -> None:
    async with two(remote, tmp_path) as (one, another):
        await take(one)
        assert len(one.fs.outbox) == 0
        assert await another.names() == ["lock"]


@taking
async def test_of_two_machines_one_gets_the_name_though_neither_has_seen_the_other(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock, take: Act
) -> None:
    async with two(remote, tmp_path) as (one, another):
        assert await one.names() == await another.names() == []
        await take(another)
        with pytest.raises(Exists):
            await take(one)
        assert await one.names() == ["lock"]
        assert (await one.find("/lock")).kind == (await another.find("/lock")).kind
        assert len(one.fs.outbox) == 0
        assert left(tmp_path / "one") == []


@taking
async def test_a_lock_that_the_other_gave_back_can_be_taken_at_once(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock, take: Act
) -> None:
    async with two(remote, tmp_path) as (one, another):
        await take(another)
        assert await one.names() == ["lock"]
        await (another.unlink if take is create else another.rmdir)("/lock")
        await another.drained()
        await take(one)
        assert len(one.fs.outbox) == 0


@taking
@pytest.mark.parametrize("error", [QuotaExceeded("the drive is full"), away()])
async def test_what_the_portal_does_not_take_is_not_there(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock, take: Act, error: BitcasaError
) -> None:
    async with two(remote, tmp_path) as (one, _):
        remote.script = [error]
        with pytest.raises(type(error)):
            await take(one)
        assert await one.names() == []
        assert len(one.fs.outbox) == 0
        assert left(tmp_path / "one") == []
        await take(one)
        assert await one.names() == ["lock"]


async def test_what_is_written_to_a_new_file_goes_where_it_was_made(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with two(remote, tmp_path) as (one, another):
        handle = await one.open("/lock", EXCLUSIVE)
        await one.fs.files.write(handle, 0, b"pid 1")
        await one.close(handle)
        await one.drained()
        assert await another.read("/lock") == b"pid 1"
        assert await one.read("/lock") == b"pid 1"


async def test_a_second_program_here_hears_at_once_that_it_came_too_late(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    gate = Gate()
    async with two(remote, tmp_path) as (one, _), trio.open_nursery() as nursery:
        remote.script = [gate]
        nursery.start_soon(create, one)
        await gate.reached.wait()
        with pytest.raises(Exists):
            await create(one)
        gate.open()


async def test_without_o_excl_nobody_waits(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with two(remote, tmp_path) as (one, _):
        remote.otherwise = lambda _: away()
        await one.write("/file", b"text")
        await one.rename("/file", "/other")
        assert await one.read("/other") == b"text"


# --- rename over a name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["sent before", "never sent"])
async def test_a_rename_over_a_name_is_on_the_portal_when_it_returns(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock, known: bool
) -> None:
    async with two(remote, tmp_path) as (one, another):
        await one.write("/target", b"old")
        await one.write("/new", b"new")
        if known:
            await one.drained()
        await one.rename("/new", "/target")
        assert len(one.fs.outbox) == 0
        assert await another.tree() == {"/target": b"new"}
        assert await one.tree() == {"/target": b"new"}


async def test_a_rename_carries_what_an_open_file_has_so_far(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with two(remote, tmp_path) as (one, another):
        await one.write("/target", b"old")
        handle = await one.open("/new", os.O_WRONLY | os.O_CREAT)
        await one.fs.files.write(handle, 0, b"new")
        await one.rename("/new", "/target")
        assert await another.tree() == {"/target": b"new"}
        await one.fs.files.write(handle, 3, b"er")
        await one.close(handle)
        await one.drained()
        assert await one.tree() == {"/target": b"newer"}


async def test_a_rename_over_what_another_machine_changed_meanwhile_is_refused_and_nothing_is_lost(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote(MemoryDrive())
    async with two(remote, tmp_path) as (one, another):
        await one.write("/target", b"old")
        await one.write("/new", b"new")
        await one.drained()
        await another.write("/target", b"theirs")
        await another.drained()
        with pytest.raises(VersionMismatch):
            await one.rename("/new", "/target")
        assert await one.tree() == {"/new": b"new", "/target": b"theirs"}
        assert len(one.fs.outbox) == 0


async def test_a_folder_that_is_not_empty_any_more_is_not_replaced(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote(MemoryDrive())
    async with two(remote, tmp_path) as (one, another):
        await one.mkdir("/target")
        await one.mkdir("/new")
        assert await one.names("/target") == []
        await another.write("/target/file", b"theirs")
        await another.drained()
        with pytest.raises((NotEmpty, VersionMismatch)):
            await one.rename("/new", "/target")
        await trio.sleep(20)
        assert await one.tree() == {"/new": None, "/target": None, "/target/file": b"theirs"}


async def test_offline_a_rename_over_a_name_fails_and_leaves_both(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with two(remote, tmp_path) as (one, _):
        await one.write("/target", b"old")
        await one.write("/new", b"new")
        await one.drained()
        remote.otherwise = lambda _: away()
        with pytest.raises(Unreachable):
            await one.rename("/new", "/target")
        remote.otherwise = lambda _: None
        assert await one.tree() == {"/new": b"new", "/target": b"old"}
        assert len(one.fs.outbox) == 0
