"""After a power cut what was synced is there and is sent, and nothing damaged goes over a good name."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import ConfigError
from bitcasafs.vfs.entry import Wanted
from bitcasafs.writing.change import State
from bitcasafs.writing.syncing import StateDisk, Syncing
from tests.support.machine import Machine, machine
from tests.support.power_cut import Damage, Disk, Log, every_way, watched
from tests.support.scripted import ScriptedRemote

ASIDE = "(recovered 2026-11-24)"
OLD = b"as the portal has it " * 500
NEW = b"what somebody wrote " * 700


@asynccontextmanager
async def offline(remote: ScriptedRemote, state: Path) -> AsyncIterator[tuple[Machine, Disk]]:
    """A machine that sends nothing, and what is durable of it."""
    with watched(state) as disk:
        async with machine(remote, state, sending=False) as one:
            yield one, disk


async def sync(one: Machine, state: Path) -> None:
    """What the background task comes to."""
    await Syncing(one.fs.outbox, StateDisk(one.fs.outbox, state / "staged")).everything()


async def on_portal(remote: ScriptedRemote, folder: Path, *names: str) -> None:
    async with machine(remote, folder) as one:
        for name in names:
            await one.write(f"/{name}", OLD)
        await one.drained()


async def after(remote: ScriptedRemote, state: Path) -> dict[str, bytes]:
    """What the portal has when the next mount has sent all, and no problem is left but of files that are gone."""
    async with machine(remote, state, boot_id="another boot") as one:
        assert "its staged file is shorter than what was written" not in {p.reason for p in one.fs.problems()}
        lost = {problem.path for problem in one.fs.problems()}
        shown = {name: await one.read(f"/{name}") for name in await one.names() if name not in lost}
        await one.drained()
        assert {problem.path for problem in one.fs.problems()} == lost
        assert {name: data for name, data in remote.stored.items() if name not in lost} == shown
    async with machine(remote, state, boot_id="a third boot") as one:
        assert one.recovered.aside == ()
        await one.drained()
    return dict(remote.stored)


# --- one thing at a time ----------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("how", ["fsync", "background"])
async def test_what_was_synced_is_there_and_is_sent(
    tmp_path: Path, autojump_clock: trio.abc.Clock, damage: Damage, log: Log, how: str
) -> None:
    remote = ScriptedRemote()
    await on_portal(remote, tmp_path / "first", "old", "patched")
    async with offline(remote, tmp_path / "state") as (one, disk):
        for path, flags in (("/old", os.O_TRUNC), ("/new", os.O_CREAT), ("/patched", 0)):
            handle = await one.open(path, os.O_WRONLY | flags)
            await one.fs.files.write(handle, 0, NEW[:5000])
            if how == "fsync":
                await one.fs.files.fsync(handle, data_only=True)
            else:
                await one.close(handle)
        await sync(one, tmp_path / "state")
        disk.leave(tmp_path / "left", damage, log)
    expected = {"old": NEW[:5000], "new": NEW[:5000], "patched": NEW[:5000] + OLD[5000:]}
    assert await after(remote, tmp_path / "left") == expected


@every_way
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
async def test_what_was_not_synced_is_beside_the_good_one_or_gone(
    tmp_path: Path, autojump_clock: trio.abc.Clock, damage: Damage, log: Log, closed: bool
) -> None:
    remote = ScriptedRemote()
    await on_portal(remote, tmp_path / "first", "old", "patched")
    async with offline(remote, tmp_path / "state") as (one, disk):
        for path, flags in (("/old", os.O_TRUNC), ("/new", os.O_CREAT), ("/patched", 0)):
            handle = await one.open(path, os.O_WRONLY | flags)
            await one.fs.files.write(handle, 0, NEW)
            if closed:
                await one.close(handle)
        disk.leave(tmp_path / "left", damage, log)
    found = await after(remote, tmp_path / "left")
    assert (found.pop("old"), found.pop("patched")) == (OLD, OLD)
    assert set(found) <= {f"{name} {ASIDE}" for name in ("old", "new", "patched")}
    if log is Log.ALL and damage is Damage.CUT:
        assert set(found) == {f"{name} {ASIDE}" for name in ("old", "new", "patched")}
        assert found[f"new {ASIDE}"] == NEW[: len(NEW) // 2]


@every_way
async def test_a_log_that_was_synced_and_went_on_keeps_its_name_and_what_was_synced(
    tmp_path: Path, autojump_clock: trio.abc.Clock, damage: Damage, log: Log
) -> None:
    remote = ScriptedRemote()
    async with offline(remote, tmp_path / "state") as (one, disk):
        handle = await one.open("/log", os.O_WRONLY | os.O_CREAT)
        await one.fs.files.write(handle, 0, NEW)
        await one.fs.files.fsync(handle, data_only=False)
        await one.fs.files.write(handle, len(NEW), b"and more " * 100)
        disk.leave(tmp_path / "left", damage, log)
    found = await after(remote, tmp_path / "left")
    assert set(found) == {"log"}
    assert found["log"].startswith(NEW)


@every_way
@pytest.mark.parametrize("size", [0, 1000])
async def test_synced_content_that_was_cut_off_and_written_anew_is_not_taken_for_what_was_synced(
    tmp_path: Path, autojump_clock: trio.abc.Clock, damage: Damage, log: Log, size: int
) -> None:
    """The power goes before anything else is synced: the mark must have been taken back, durably, before the cut."""
    remote = ScriptedRemote()
    await on_portal(remote, tmp_path / "first", "old")
    async with offline(remote, tmp_path / "state") as (one, disk):
        await one.write("/old", NEW)
        await sync(one, tmp_path / "state")
        handle = await one.open("/old", os.O_WRONLY)
        await one.fs.attributes.set((await one.find("/old")).number, Wanted(size_bytes=size), handle)
        await one.fs.files.write(handle, size, NEW * 2)
        disk.leave(tmp_path / "left", damage, log)
    found = await after(remote, tmp_path / "left")
    assert found["old"] == OLD
    assert set(found) <= {"old", f"old {ASIDE}"}


@every_way
async def test_changes_of_names_that_were_synced_are_there(
    tmp_path: Path, autojump_clock: trio.abc.Clock, damage: Damage, log: Log
) -> None:
    remote = ScriptedRemote()
    async with offline(remote, tmp_path / "state") as (one, disk):
        await one.write("/draft", NEW)
        await one.rename("/draft", "/letter")
        await one.write("/gone", NEW)
        await sync(one, tmp_path / "state")
        await one.unlink("/gone")
        await one.fs.files.fsync(await one.open("/letter", os.O_WRONLY), data_only=False)
        disk.leave(tmp_path / "left", damage, log)
    assert await after(remote, tmp_path / "left") == {"letter": NEW}


@every_way
async def test_newer_synced_content_of_a_file_that_was_being_sent_keeps_its_name(
    tmp_path: Path, autojump_clock: trio.abc.Clock, damage: Damage, log: Log
) -> None:
    remote = ScriptedRemote()
    async with offline(remote, tmp_path / "state") as (one, disk):
        await one.write("/a", OLD)
        (record,) = one.fs.outbox
        one.fs.outbox.update(record.moved(State.SENDING, attempts=1))
        await one.write("/a", NEW)
        await one.fs.files.fsync(await one.open("/a", os.O_WRONLY), data_only=False)
        disk.leave(tmp_path / "left", damage, log)
    assert await after(remote, tmp_path / "left") == {"a": NEW}


# --- everything at once -----------------------------------------------------------------------------------------------


class Story:
    """Somebody works at random; what must be there afterwards, and what may stand under each name."""

    def __init__(self, one: Machine, state: Path, dice: random.Random) -> None:
        self.one, self.state, self.dice = one, state, dice
        self.promised: dict[str, bytes] = {}
        """What was synced last, and not touched since but by appending."""
        self.closed: dict[str, set[bytes]] = {}
        self.now: dict[str, bytes] = {}
        self._count = 0

    def content(self) -> bytes:
        self._count += 1
        return f"content {self._count} ".encode() * self.dice.randrange(1, 400)

    def found(self, *names: str) -> None:
        for name in names:
            self.closed[name] = {OLD}
            self.now[name] = OLD

    async def step(self) -> None:
        name = f"/{self.dice.choice('abcdef')}"
        await self.dice.choice([self.rewrite, self.rewrite, self.append, self.append, self.shorten, self.sync])(name)

    async def rewrite(self, name: str) -> None:
        await self._write(name, self.content(), os.O_TRUNC | os.O_CREAT, 0)

    async def append(self, name: str) -> None:
        await self._write(name, self.now.get(name, b"") + self.content(), os.O_CREAT, len(self.now.get(name, b"")))

    async def _write(self, name: str, now: bytes, flags: int, offset: int) -> None:
        if flags & os.O_TRUNC:
            self.promised.pop(name, None)
        handle = await self.one.open(name, os.O_WRONLY | flags)
        await self.one.fs.files.write(handle, offset, now[offset:])
        self.now[name] = now
        end = self.dice.choice(["close", "close", "fsync", "leave open"])
        if end == "leave open":
            return
        await self.one.fs.files.flush(handle)
        self.closed.setdefault(name, set()).add(now)
        if end == "fsync":
            await self.one.fs.files.fsync(handle, data_only=False)
            self.promised[name] = now

    async def shorten(self, name: str) -> None:
        if name in self.now:
            self.promised.pop(name, None)
            size = self.dice.randrange(len(self.now[name]) + 1)
            handle = await self.one.open(name, os.O_WRONLY)
            await self.one.fs.attributes.set((await self.one.find(name)).number, Wanted(size_bytes=size), handle)
            await self.one.close(handle)
            self.now[name] = self.now[name][:size]
            self.closed.setdefault(name, set()).add(self.now[name])

    async def sync(self, name: str) -> None:
        sealed = {path for path in self.now if self.now[path] in self.closed.get(path, ())}
        await sync(self.one, self.state)
        self.promised.update((path, self.now[path]) for path in sealed)


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_was_done_before_it(tmp_path: Path, autojump_clock: trio.abc.Clock, seed: int) -> None:
    dice = random.Random(seed)
    remote = ScriptedRemote(None, historical=bool(seed % 2))
    await on_portal(remote, tmp_path / "first", "a", "b")
    async with offline(remote, tmp_path / "state") as (one, disk):
        story = Story(one, tmp_path / "state", dice)
        story.found("/a", "/b")
        for _ in range(dice.randrange(1, 25)):
            await story.step()
        disk.leave(tmp_path / "left", dice.choice(list(Damage)), dice.choice(list(Log)))
    found = await after(remote, tmp_path / "left")
    for name, promised in story.promised.items():
        # What was closed again, and not synced since, is beside it: with all that was synced.
        kept = [data for other, data in found.items() if other == name[1:] or other.startswith(f"{name[1:]} (rec")]
        assert any(data.startswith(promised) for data in kept), name
    for name, data in found.items():
        good = story.closed.get(f"/{name}", set())
        synced = story.promised.get(f"/{name}")
        assert ASIDE in name or data in good or (synced is not None and data.startswith(synced)), name


@pytest.mark.allow_log("nodes.sqlite3 is damaged")
@pytest.mark.parametrize("seed", range(20))
async def test_no_damage_of_the_folder_keeps_the_mount_from_starting_or_from_saying_why(
    tmp_path: Path, autojump_clock: trio.abc.Clock, seed: int
) -> None:
    dice = random.Random(seed)
    remote = ScriptedRemote()
    await on_portal(remote, tmp_path / "first", "a", "b")
    async with offline(remote, tmp_path / "state") as (one, disk):
        story = Story(one, tmp_path / "state", dice)
        story.found("/a", "/b")
        for _ in range(20):
            await story.step()
        disk.leave(tmp_path / "left", Damage.CUT, Log.ALL)
    files = [path for path in sorted((tmp_path / "left").rglob("*")) if path.is_file()]
    for path in dice.sample(files, 3):
        data = bytearray(path.read_bytes())
        start = dice.randrange(len(data) + 1)
        path.write_bytes(dice.choice([data[:start], data[:start] + bytes(len(data) - start), data + b"garbage" * 999]))
    try:
        await after(remote, tmp_path / "left")
    except ConfigError as error:
        told = str(error)
    else:
        told = "move it away"
    assert "move it away" in told
