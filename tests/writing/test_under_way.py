"""A large file that is written while it is sent: stopped or copied, one generation at a time, and sent in the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from bitcasafs.remote.interface import ReplaceStep, Source
from bitcasafs.values.items import Item
from bitcasafs.values.operations import Put
from bitcasafs.writing.staging import StagedFile, Staging
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, Lost, ScriptedRemote, silent

SIZE = 300_001
"""More than shares a request with others."""


@pytest.fixture(autouse=True)
def large_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitcasafs.writing.contents.COPIED_BYTES", SIZE - 1)


class Disk(Staging):
    """A disk that shares no blocks; counts the copies."""

    clones = False
    copied: list[int]

    async def copy(self, original: StagedFile, serial: int, name: str) -> StagedFile:
        self.copied.append(original.size_bytes)
        return await super().copy(original, serial, name)


def disk(*, clones: bool = False) -> type[Disk]:
    return type("DiskOfOneTest", (Disk,), {"copied": [], "clones": clones})


class Halfway(ScriptedRemote):
    """An upload waits when `share` of its bytes are sent."""

    share = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[Gate] = []
        self.begun: list[bytes] = []

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        self.begun.append(source.read(0, 4))
        if self.gates and progress is not None:
            progress(int(self.share * source.size_bytes))
            await self.gates.pop(0).passed()
        assert source.read(0, 4) == self.begun[-1], "the content changed while it was sent"
        return await super().store(put, source, resume=resume, on_step=on_step, progress=progress)


async def on_its_way(one: Machine, remote: Halfway, *gates: Gate) -> None:
    """A large file of which half is sent."""
    remote.gates = list(gates)
    await one.write("/a", b"one " + bytes(SIZE - 4))
    await gates[0].reached.wait()


async def test_the_sending_is_stopped_and_begins_again_after_the_next_seal(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    gate, made = Gate(), disk()
    remote = Halfway()
    async with machine(remote, tmp_path, make_staging=made) as one:
        await on_its_way(one, remote, gate)
        handle = await one.open("/a", os.O_RDWR)
        await one.fs.files.write(handle, 0, b"two ")
        assert not remote.drive.files
        await trio.sleep(10)
        assert remote.begun == [b"one "]
        assert one.fs.scheduler.statistics().failed_attempts == 0
        await one.close(handle)
        await one.drained()
        assert remote.begun == [b"one ", b"two "]
        assert remote.stored["a"] == b"two " + bytes(SIZE - 4)
        assert made.copied == []


async def test_the_third_time_it_is_copied_so_that_a_busy_file_is_sent_too(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    gates, made = [Gate() for _ in range(4)], disk()
    remote = Halfway()
    async with machine(remote, tmp_path, make_staging=made) as one:
        await on_its_way(one, remote, *gates)
        for gate, data in zip(gates, (b"two ", b"tri ", b"four", b"five"), strict=True):
            await gate.reached.wait()
            await one.write("/a", data, flags=0)
            gate.open()
        await one.drained()
        assert made.copied == [SIZE]
        assert remote.begun == [b"one ", b"two ", b"tri ", b"four", b"five"]
        assert [request.data[:4] for request in remote.requests if request.data] == [b"tri ", b"five"]
        assert remote.stored["a"] == b"five" + bytes(SIZE - 4)


@pytest.mark.parametrize("why", ["all is sent", "the disk shares blocks", "somebody waits for it"])
async def test_it_is_copied_where_stopping_is_not_safe_or_not_needed(
    tmp_path: Path, autojump_clock: trio.abc.Clock, why: str
) -> None:
    gate, made = Gate(), disk(clones=why == "the disk shares blocks")
    remote = Halfway()
    remote.share = 1.0 if why == "all is sent" else 0.5
    async with machine(remote, tmp_path, make_staging=made) as one, trio.open_nursery() as nursery:
        await on_its_way(one, remote, gate)
        if why == "somebody waits for it":
            nursery.start_soon(one.drained)
            await trio.testing.wait_all_tasks_blocked()
        await one.write("/a", b"two ", flags=0)
        assert made.copied == [SIZE]
        gate.open()
        await one.drained()
        assert remote.begun == [b"one ", b"two "]
        assert remote.stored["a"] == b"two " + bytes(SIZE - 4)


async def test_a_sending_that_may_have_arrived_is_never_taken_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """All bytes of a first try were sent and its answer was lost; the repeat is halfway."""
    lost, passed, second, made = Lost(silent()), Gate(), Gate(), disk()
    remote = Halfway()
    async with machine(remote, tmp_path, make_staging=made) as one:
        remote.script = [lost]
        passed.open()
        await on_its_way(one, remote, passed, second)
        await second.reached.wait()
        await one.write("/a", b"two ", flags=0)
        assert made.copied == [SIZE]
        second.open()
        await one.drained()
        assert remote.stored["a"] == b"two " + bytes(SIZE - 4)


async def test_a_writer_that_gives_up_leaves_the_content_to_be_sent(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    """The upload does not end at once when it is stopped."""
    gate = Gate()

    class Slow(Halfway):
        async def store(self, put: Put, source: Source, **what: object) -> Item:  # type: ignore[override]
            try:
                return await super().store(put, source, **what)  # type: ignore[arg-type]
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                raise

    remote = Slow()
    async with machine(remote, tmp_path, make_staging=disk()) as one:
        await on_its_way(one, remote, gate)
        with trio.move_on_after(1):
            await one.fs.files.resize(one.fs.nodes[(await one.find("/a")).number], 1)
        await one.drained()
        assert remote.begun == [b"one ", b"one "]
        assert remote.stored["a"] == b"one " + bytes(SIZE - 4)
