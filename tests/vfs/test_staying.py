"""Files that are never closed are sent: after a pause, after ten minutes, and when somebody asks for it."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import trio

from bitcasafs.vfs.entry import Handle
from bitcasafs.vfs.staying import LOOK_SECONDS
from bitcasafs.writing.staging import StagedFile, Staging
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, ScriptedRemote, away

CREATE = os.O_WRONLY | os.O_CREAT
APPEND = CREATE | os.O_APPEND


class QuickCopies(Staging):
    """Of whole files, made at once: a test's clock runs on while a thread copies."""

    async def copy(self, original: StagedFile, serial: int, name: str) -> StagedFile:
        copy = self.create(serial, name)
        copy.write(0, original.read(0, original.size_bytes))
        return copy


async def log_lines(one: Machine, handle: Handle, every_seconds: float) -> None:
    """A program that writes a line again and again, and never closes."""
    while True:
        await one.fs.files.write(handle, 0, b"line\n")
        await trio.sleep(every_seconds)


async def test_a_file_that_stays_open_is_sent_when_nobody_wrote_for_half_a_minute(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, staying=True) as one:
        handle = await one.open("/a", CREATE)
        await one.fs.files.write(handle, 0, b"one")
        await trio.sleep(20)
        await one.fs.files.write(handle, 3, b"two")
        await trio.sleep(29)
        assert remote.stored == {}
        await trio.sleep(1 + LOOK_SECONDS)
        assert remote.stored == {"a": b"onetwo"}
        await one.fs.files.write(handle, 6, b"three")
        await trio.sleep(30 + LOOK_SECONDS)
        assert remote.stored == {"a": b"onetwothree"}
        await one.close(handle)
        await one.drained()
        assert len(remote.requests) == 2


async def test_a_log_that_is_written_all_the_time_is_sent_every_ten_minutes(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 3
    async with machine(remote, tmp_path, staying=True, make_staging=QuickCopies) as one, trio.open_nursery() as nursery:
        nursery.start_soon(log_lines, one, await one.open("/log", APPEND), 2)
        await trio.sleep(599)
        assert remote.requests == []
        await trio.sleep(3100)
        times = [0, *(request.at for request in remote.requests)]
        assert all(600 <= later - earlier <= 610 for earlier, later in pairwise(times))
        assert len(remote.requests) >= 5
        assert 300 * 5 <= len(remote.requests[0].data or b"") <= 304 * 5
        nursery.cancel_scope.cancel()


async def test_a_busy_file_does_not_miss_its_turn_however_often_it_is_written(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The portal comes back between two looks, when the file was just written again."""
    remote = ScriptedRemote()
    remote.otherwise = lambda _: away()
    async with machine(remote, tmp_path, staying=True, make_staging=QuickCopies) as one, trio.open_nursery() as nursery:
        nursery.start_soon(log_lines, one, await one.open("/log", APPEND), 0.1)
        await trio.sleep(650)
        remote.otherwise = lambda _: None
        await trio.sleep(31)
        assert 6000 * 5 <= len(remote.stored["log"]) < 6600 * 5
        nursery.cancel_scope.cancel()


async def test_what_was_synced_and_stays_open_is_sent_by_the_same_rule(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, staying=True) as one:
        handle = await one.open("/a", CREATE)
        await one.fs.files.write(handle, 0, b"text")
        one.fs.files.seal(one.fs.nodes[(await one.find("/a")).number])
        await trio.sleep(29)
        assert remote.stored == {}
        await trio.sleep(1 + LOOK_SECONDS)
        assert remote.stored == {"a": b"text"}
        await one.close(handle)


async def test_a_closed_file_that_is_opened_again_does_not_wait_for_its_close(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.otherwise = lambda _: away()
    async with machine(remote, tmp_path, staying=True) as one:
        await one.write("/a", b"text")
        handle = await one.open("/a", os.O_RDWR)
        remote.otherwise = lambda _: None
        await trio.sleep(30 + LOOK_SECONDS)
        assert remote.stored == {"a": b"text"}
        await one.close(handle)


async def test_a_sync_sends_what_is_open_and_does_not_wait_for_what_is_written_meanwhile(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    gate = Gate()
    remote = ScriptedRemote(None, gate)
    async with machine(remote, tmp_path, staying=True, make_staging=QuickCopies) as one, trio.open_nursery() as nursery:
        handle = await one.open("/log", APPEND)
        await one.fs.files.write(handle, 0, b"before")

        async def sync() -> None:
            one.fs.files.seal_all()
            await one.drained()
            nursery.cancel_scope.cancel()

        nursery.start_soon(sync)
        await gate.reached.wait()
        nursery.start_soon(log_lines, one, handle, 0.5)
        await trio.sleep(5)
        gate.open()
        await trio.sleep(5)
    assert remote.stored == {"log": b"before"}
    assert len(remote.requests) == 1
