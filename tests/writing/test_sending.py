"""How much goes at once, what a mount's end leaves to the next one, and a machine with troubles of its own; all in
virtual time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import (
    BitcasaError,
    NoSpace,
    QuotaExceeded,
)
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Item
from bitcasafs.vfs.nodes import ROOT
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record
from bitcasafs.writing.outbox import Outbox
from tests.conftest import ExpectedLogs
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, Lost, ScriptedRemote, Step, away, silent

LARGE = bytes(300_000)
"""More than shares a request with others."""


def mkdir(name: str = "d", node: int = 1000) -> Change:
    return Change(ChangeKind.MKDIR, node, None, Fields(parent=ROOT, name=name))


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_so_many_contents_go_at_once_and_a_folder_does_not_wait_for_them(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 60
    async with machine(remote, tmp_path, uploads=3) as one:
        for number in range(9):
            await one.write(f"/{number}", LARGE)
        begun = trio.current_time()
        await one.mkdir("/d")
        assert trio.current_time() - begun < 1
        await one.drained()
        assert remote.most_at_once == 3
        assert trio.current_time() - begun == pytest.approx(180, abs=1)


async def test_a_burst_of_small_files_shares_requests_and_each_has_its_own_outcome(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 1
    silences = [Lost(silent())]

    def outcome(name: str) -> Step:
        if name == "3":
            return QuotaExceeded("full")
        return silences.pop() if name == "5" and silences else None

    remote.otherwise = outcome
    async with machine(remote, tmp_path, uploads=1) as one:
        for number in range(40):
            await one.write(f"/{number}", str(number).encode())
        await one.drained()
        assert remote.most_at_once == 1
        assert len({request.at for request in remote.requests}) <= 5
        assert remote.stored == {str(number): str(number).encode() for number in range(40) if number != 3}
        assert [problem.path for problem in one.fs.problems()] == ["3"]
        keys = [request.key for request in remote.requests if request.name == "5"]
        assert len(keys) == 2 and len(set(keys)) == 1


async def test_a_file_that_is_written_while_it_travels_with_others_is_sent_again_alone(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 10
    async with machine(remote, tmp_path) as one:
        for name in "abc":
            await one.write(f"/{name}", b"one")
        await trio.sleep(5)
        assert remote.at_once
        await one.write("/b", b"second")
        await one.drained()
        assert remote.stored == {"a": b"one", "b": b"second", "c": b"one"}
        assert [request.name for request in remote.requests] == ["a", "b", "c", "b"]


async def test_a_file_that_is_written_again_and_again_is_sent_one_generation_at_a_time(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 3
    async with machine(remote, tmp_path, uploads=8) as one:
        for number in range(20):
            await one.write("/a", f"generation {number}".encode())
            await trio.sleep(1)
        await one.drained()
        assert remote.stored == {"a": b"generation 19"}
        sent = [request.data for request in remote.requests]
        assert sent == sorted(sent, key=lambda data: int((data or b"").split()[1]))
        assert not list(one.fs.problems())


async def test_content_is_sent_after_the_last_writer_closed_or_the_kernel_is_gone(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await one.open("/a", os.O_WRONLY | os.O_CREAT)
        await one.fs.files.write(handle, 0, b"text")
        await one.fs.files.flush(handle)
        await trio.sleep(100)
        assert remote.stored == {}
        one.fs.scheduler.end_of_writers()
        await one.drained()
        assert remote.stored == {"a": b"text"}


# --- cancelled and taken up again -------------------------------------------------------------------------------------


async def test_what_was_on_its_way_at_the_end_is_sent_by_the_next_mount_with_its_key(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote(None, Gate())
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"text")
        await trio.testing.wait_all_tasks_blocked()
    async with machine(remote, tmp_path) as one:
        await one.drained()
    assert [request.key for request in remote.requests] == [remote.requests[0].key] * 2
    assert remote.stored == {"a": b"text"}


@pytest.mark.parametrize("before", [None, b"older"])
async def test_a_change_whose_answer_was_lost_is_done_once(
    tmp_path: Path, autojump_clock: trio.abc.Clock, before: bytes | None
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        if before is not None:
            await one.write("/a", before)
            await one.drained()
        remote.script.extend([Lost(silent()), Lost(silent())])
        await one.write("/a", b"text")
        await one.drained()
        assert remote.stored == {"a": b"text"}
        assert not list(one.fs.problems())


@pytest.mark.parametrize("before", [None, b"older"])
async def test_writing_to_what_may_have_arrived_is_no_conflict_with_ourselves(
    tmp_path: Path, autojump_clock: trio.abc.Clock, before: bytes | None
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        if before is not None:
            await one.write("/a", before)
            await one.drained()
        remote.script.append(Lost(silent()))
        remote.otherwise = lambda _: away()
        await one.write("/a", b"first")
        await trio.testing.wait_all_tasks_blocked()
        await one.write("/a", b"second", offset=0, flags=0)
        await trio.sleep(100)
        assert await one.read("/a") == b"second"
        remote.otherwise = lambda _: None
        await one.drained()
        assert remote.stored == {"a": b"second"}
        assert not list(one.fs.problems())


async def test_renaming_what_may_have_arrived_leaves_no_second_file(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote(None, Lost(silent()))
    async with machine(remote, tmp_path) as one:
        await one.write("/draft", b"text")
        await trio.testing.wait_all_tasks_blocked()
        await one.rename("/draft", "/final")
        await one.drained()
        assert remote.stored == {"final": b"text"}
        assert await one.names() == ["final"]


# --- this machine's own troubles --------------------------------------------------------------------------------------


class FullNowAndThen(Outbox):
    """Refuses to record the next so many changes."""

    refuse = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        self._refused()
        with super().together():
            yield

    def update(self, record: Record) -> Record:
        self._refused()
        return super().update(record)

    def _refused(self) -> None:
        if self.refuse:
            self.refuse -= 1
            raise NoSpace("the disk is full")


@pytest.mark.allow_log("cannot be recorded")
@pytest.mark.parametrize("refusals", [1, 5])
async def test_a_full_disk_under_the_outbox_stops_the_sending_but_not_the_scheduler(
    tmp_path: Path, autojump_clock: trio.abc.Clock, refusals: int
) -> None:
    remote = ScriptedRemote()
    boxes: list[FullNowAndThen] = []

    def full(folder: Path, boot: str) -> Outbox:
        boxes.append(FullNowAndThen(folder, boot))
        return boxes[-1]

    gate = Gate()
    async with machine(remote, tmp_path, make_outbox=full) as one:
        await one.write("/a", b"a")
        boxes[0].refuse = refusals  # cannot be marked as being sent
        await one.drained()
        remote.script.append(gate)
        await one.write("/b", b"b")
        await gate.reached.wait()
        boxes[0].refuse = refusals  # is on the portal, and cannot be struck from the list
        gate.open()
        await one.drained()
        remote.script.append(QuotaExceeded("full there, too"))
        await one.write("/c", b"c")
        await one.drained()
        assert remote.stored == {"a": b"a", "b": b"b"}
        assert [problem.path for problem in one.fs.problems()] == ["c"]
        assert {name.split(" ")[1] for name in os.listdir(tmp_path / "staged")} == {"c"}


async def test_a_staged_file_that_somebody_removed_is_a_problem(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, sending=False) as one:
        await one.write("/a", b"text")
        await one.write("/b", b"longer text")
    for path in (tmp_path / "staged").iterdir():
        if path.name.endswith(" a"):
            path.unlink()
        else:
            os.truncate(path, 4)
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert remote.stored == {}
        assert {problem.path: problem.reason for problem in one.fs.problems()} == {
            "a": "its staged file is gone",
            "b": "its staged file is shorter than what was written",
        }
        assert await one.names() == ["a", "b"]


class BrokenWitness:
    """Fails at what it is told."""

    def held_open(self, node: int) -> bool:
        return False

    def sent(self, record: Record, item: Item | None) -> None:
        raise ZeroDivisionError

    def refused(self, record: Record, error: BitcasaError) -> None: ...

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()


async def test_a_fault_in_who_is_told_does_not_end_the_sending(
    tmp_path: Path,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs.allow("could not be shown")
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        monkeypatch.setattr(one.fs.scheduler, "_witness", BrokenWitness())
        await one.write("/a", b"a")
        await one.write("/b", b"b")
        await one.drained()
        assert remote.stored == {"a": b"a", "b": b"b"}


async def test_the_log_of_the_outbox_does_not_grow_for_ever(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitcasafs.writing.scheduler.LOG_BYTES", 100_000)
    monkeypatch.setattr("bitcasafs.writing.scheduler.LOG_LOOKS", 1)
    remote = ScriptedRemote(MemoryDrive())
    longest = 0
    async with machine(remote, tmp_path) as one:
        for number in range(100):
            await one.write(f"/{number}", b"")
            await one.drained()
            longest = max(longest, one.fs.outbox.log_bytes)
        assert 100_000 < longest < 600_000


async def test_every_statistic_is_of_this_moment(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    gate = Gate()
    remote = ScriptedRemote(None, gate, QuotaExceeded("full"))
    async with machine(remote, tmp_path, uploads=1) as one:
        await one.write("/a", b"12345")
        await gate.reached.wait()
        await one.write("/b", b"123")
        await one.open("/c", os.O_WRONLY | os.O_CREAT)
        found = one.fs.outbox.statistics()
        assert (found.pending, found.sending, found.open, found.problems) == (3, 1, 1, 0)
        assert found.pending_bytes == 8
        assert [(one_of.sent_bytes, one_of.size_bytes) for one_of in one.fs.scheduler.statistics().sending] == [(0, 5)]
        gate.open()
        await until(one, lambda: one.fs.outbox.statistics().problems == 1)
        found = one.fs.outbox.statistics()
        assert (found.pending, found.sending, found.open, found.pending_bytes) == (1, 0, 1, 0)
        assert one.fs.scheduler.statistics().sent_bytes == 5
        assert one.fs.scheduler.statistics().last_error == "full"


async def until(one: Machine, condition: Callable[[], bool]) -> None:
    while not condition():
        changed = trio.Event()
        one.fs.outbox.watch_once(changed.set)
        await changed.wait()


async def test_what_has_settled_and_waits_for_another_change_is_not_looked_at_without_end(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote, gate = ScriptedRemote(MemoryDrive()), Gate()
    looks: list[bool] = []
    async with machine(remote, tmp_path) as one:
        ready = one.fs.outbox.ready

        def counted(*, contents: bool) -> Iterator[Record]:
            looks.append(contents)
            assert len(looks) < 200  # else the clock would stand still
            return ready(contents=contents)

        monkeypatch.setattr(one.fs.outbox, "ready", counted)
        await one.write("/a", b"one")
        await one.drained()
        remote.script = [gate]
        await one.rename("/a", "/b")
        await gate.reached.wait()
        await one.write("/b", b"two")
        await trio.sleep(5)
        gate.open()
        await one.drained()
        assert remote.stored == {"b": b"two"}
