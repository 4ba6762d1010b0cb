"""`-o close=remote` and `-o fsync=remote`: who waits for the portal, for how long, and what is told then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import QuotaExceeded, TimedOut
from bitcasafs.remote.interface import ReplaceStep, Source
from bitcasafs.values.items import Item
from bitcasafs.values.operations import Put
from bitcasafs.vfs.files import Waits
from bitcasafs.writing.change import State
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, ScriptedRemote, away

BOTH = Waits(close=True, fsync=True)
CREATE = os.O_WRONLY | os.O_CREAT
LARGE = bytes(300_000)
"""More than shares a request with others."""


async def flush(one: Machine, handle: int) -> None:
    await one.fs.files.flush(handle)  # type: ignore[arg-type]


async def fsync(one: Machine, handle: int) -> None:
    await one.fs.files.fsync(handle, data_only=False)  # type: ignore[arg-type]


either = pytest.mark.parametrize("seal", [flush, fsync])
Seal = Callable[[Machine, int], object]


@either
async def test_it_returns_when_the_portal_has_the_content_though_the_file_stays_open(
    tmp_path: Path, autojump_clock: trio.abc.Clock, seal: Seal
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 5
    async with machine(remote, tmp_path, waits=BOTH) as one:
        handle = await one.open("/a", CREATE)
        await one.fs.files.write(handle, 0, b"text")
        await seal(one, handle)  # type: ignore[misc]
        assert remote.stored == {"a": b"text"}
        assert len(one.fs.outbox) == 0


async def test_without_the_options_nobody_waits(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote(None)
    remote.otherwise = lambda _: away()
    async with machine(remote, tmp_path) as one:
        handle = await one.open("/a", CREATE)
        begun = trio.current_time()
        await fsync(one, handle)
        await flush(one, handle)
        assert trio.current_time() - begun < 1


@either
async def test_when_nothing_moves_it_times_out_and_the_content_is_sent_later(
    tmp_path: Path, autojump_clock: trio.abc.Clock, seal: Seal
) -> None:
    remote = ScriptedRemote()
    remote.otherwise = lambda _: away()
    async with machine(remote, tmp_path, waits=BOTH) as one:
        handle = await one.open("/a", CREATE)
        await one.fs.files.write(handle, 0, b"text")
        begun = trio.current_time()
        with pytest.raises(TimedOut):
            await seal(one, handle)  # type: ignore[misc]
        waited = trio.current_time() - begun
        assert waited == 15 or (seal is fsync and waited > 15)  # the clock runs on while a thread syncs
        remote.otherwise = lambda _: None
        await one.fs.files.release(handle)
        await one.drained()
        assert remote.stored == {"a": b"text"}


class Dripping(ScriptedRemote):
    """An upload takes ten minutes, and moves all the time."""

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        for tenth in range(60):
            await trio.sleep(10)
            assert progress is not None
            progress(tenth * source.size_bytes // 60)
        return await super().store(put, source, resume=resume, on_step=on_step, progress=progress)


async def test_it_waits_for_as_long_as_bytes_move(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = Dripping()
    async with machine(remote, tmp_path, waits=BOTH) as one:
        begun = trio.current_time()
        await one.write("/a", LARGE)
        assert trio.current_time() - begun >= 600
        assert remote.stored == {"a": LARGE}


@either
async def test_a_refusal_is_told_once_and_stays_as_a_problem(
    tmp_path: Path, autojump_clock: trio.abc.Clock, seal: Seal
) -> None:
    remote = ScriptedRemote(None, QuotaExceeded("the drive is full"))
    async with machine(remote, tmp_path, waits=Waits(close=seal is flush, fsync=seal is fsync)) as one:
        handle = await one.open("/a", CREATE)
        await one.fs.files.write(handle, 0, b"text")
        with pytest.raises(QuotaExceeded):
            await seal(one, handle)  # type: ignore[misc]
        await flush(one, handle)
        assert [record.state for record in one.fs.outbox] == [State.PROBLEM]


async def test_a_flush_of_a_clean_handle_does_not_wait(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Shells and forks flush before they write, and readers close too."""
    remote = ScriptedRemote()
    remote.otherwise = lambda _: away()
    async with machine(remote, tmp_path, waits=Waits(close=True)) as one:
        writer = await one.open("/a", CREATE)
        await one.fs.files.write(writer, 0, b"text")
        with pytest.raises(TimedOut):
            await flush(one, writer)
        begun = trio.current_time()
        assert await one.read("/a") == b"text"
        await flush(one, writer)
        assert trio.current_time() - begun < 1


async def test_an_fsync_of_an_unlinked_file_does_not_wait(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    remote.otherwise = lambda _: away()
    async with machine(remote, tmp_path, waits=BOTH) as one:
        handle = await one.open("/a", CREATE)
        await one.fs.files.write(handle, 0, b"text")
        await one.unlink("/a")
        begun = trio.current_time()
        await fsync(one, handle)
        await flush(one, handle)
        assert trio.current_time() - begun < 1
        assert remote.requests == []


async def test_who_writes_meanwhile_changes_nothing_of_what_is_waited_for(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """Between the seal and the sending the disk is waited for: another process writes in that moment."""
    gate = Gate()
    remote = ScriptedRemote(None, gate)
    async with machine(remote, tmp_path, waits=BOTH) as one:
        ours, theirs = await one.open("/a", CREATE), await one.open("/a", os.O_WRONLY)
        await one.fs.files.write(ours, 0, b"ours")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fsync, one, ours)
            while [record.state for record in one.fs.outbox] == [State.OPEN]:
                await trio.lowlevel.checkpoint()
            await one.fs.files.write(theirs, 0, b"THEIRS")
            await gate.reached.wait()
            gate.open()
        assert remote.stored == {"a": b"ours"}
        assert await one.read("/a") == b"THEIRS"
