"""How changes reach the portal: repeated, refused, waited for, cancelled and taken up again; all in virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import (
    BitcasaError,
    Busy,
    Forbidden,
    LoginRefused,
    NoSpace,
    ProtocolError,
    QuotaExceeded,
    TimedOut,
    Unreachable,
)
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Item
from bitcasafs.vfs.nodes import ROOT
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State
from bitcasafs.writing.outbox import Outbox
from tests.conftest import ExpectedLogs
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, Lost, ScriptedRemote


def away() -> Unreachable:
    return Unreachable("the portal is away", applied=False)


def silent() -> TimedOut:
    return TimedOut("no answer came", applied=None)


def mkdir(name: str = "d", node: int = 1000) -> Change:
    return Change(ChangeKind.MKDIR, node, None, Fields(parent=ROOT, name=name))


def stored(remote: ScriptedRemote) -> dict[str, bytes]:
    return {node.name: remote.drive.contents[str(node.version)].data for node in remote.drive.files}


# --- repeated ---------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_sent_is_tried_again_less_and_less_often_with_one_key(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote(None, *[away() for _ in range(12)])
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"text")
        await one.drained()
        assert len({request.key for request in remote.requests}) == 1
        times = [request.at for request in remote.requests]
        waits = [later - earlier for earlier, later in pairwise(times)]
        assert waits == pytest.approx([min(30, 0.5 * 2**n) * 0.75 for n in range(12)])
        assert stored(remote) == {"a": b"text"}
        assert one.fs.scheduler.statistics().failed_attempts == 12
        assert one.fs.scheduler.statistics().sent_changes == 1


async def test_the_portals_wish_is_waited_for(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote(None, Busy("later", applied=False, retry_after_seconds=300))
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"text")
        await one.drained()
        assert 300 <= remote.requests[1].at - remote.requests[0].at <= 301


@pytest.mark.parametrize("error", [LoginRefused("wrong password"), ProtocolError("a page of an airport's network")])
async def test_an_answer_that_says_nothing_of_the_change_is_no_refusal_of_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock, error: BitcasaError
) -> None:
    remote = ScriptedRemote(None, error, error)
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"text")
        await one.drained()
        assert stored(remote) == {"a": b"text"}
        assert one.fs.outbox.statistics().problems == 0


async def test_one_file_that_cannot_be_sent_does_not_keep_others_waiting(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.otherwise = lambda name: away() if name == "bad" else None
    async with machine(remote, tmp_path, uploads=1) as one:
        await one.write("/bad", b"")
        await one.write("/good", b"")
        await trio.sleep(5)
        assert stored(remote) == {"good": b""}


# --- refused ----------------------------------------------------------------------------------------------------------


async def test_what_the_portal_refuses_stays_as_a_problem_with_its_reason_and_is_not_sent_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote(None, QuotaExceeded("the drive is full"))
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"text")
        await one.drained()
        await trio.sleep(1000)
        assert len(remote.requests) == 1
        (problem,) = one.fs.problems()
        assert (problem.path, problem.reason) == ("a", "the drive is full")
        assert await one.read("/a") == b"text"


async def test_writing_again_to_what_was_refused_sends_it_again(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote(None, QuotaExceeded("the drive is full"))
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"a long text")
        await one.drained()
        await one.write("/a", b"short")
        await one.drained()
        assert stored(remote) == {"a": b"short"}
        assert len({request.key for request in remote.requests}) == 2
        assert not list(one.fs.problems())


async def test_what_was_refused_is_forgotten_when_newer_content_is_sealed_already(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    gate = Gate()
    remote = ScriptedRemote(None, gate)
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"first")
        await gate.reached.wait()
        await one.write("/a", b"second")
        remote.script.append(QuotaExceeded("the drive is full"))
        remote.drive.quota_bytes = 0
        gate.open()
        await trio.testing.wait_all_tasks_blocked()
        remote.drive.quota_bytes = None
        remote.script.clear()
        await one.write("/a", b"third")
        await one.drained()
        assert stored(remote) == {"a": b"third"}
        assert not list(one.fs.problems())
        assert list((tmp_path / "staged").iterdir()) == []


async def test_an_internal_error_is_logged_and_the_change_kept(
    tmp_path: Path, autojump_clock: trio.abc.Clock, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("could not be sent")
    remote = ScriptedRemote()

    def broken(_: str) -> None:
        raise ZeroDivisionError

    remote.otherwise = broken
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"text")
        await one.drained()
        assert await one.read("/a") == b"text"
        assert "internal error" in next(one.fs.problems()).reason


# --- waited for -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Forbidden("no"), away(), silent(), LoginRefused("wrong password")])
async def test_who_waits_for_a_change_gets_the_reason_and_it_is_taken_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock, error: BitcasaError
) -> None:
    remote = ScriptedRemote(None, error)
    async with machine(remote, tmp_path) as one:
        with pytest.raises(type(error)):
            await one.mkdir("/d")
        assert len(one.fs.outbox) == 0
        await one.mkdir("/d")
        assert await one.names() == ["d"]


async def test_a_change_that_waits_for_what_does_not_move_is_taken_back_in_time(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.otherwise = lambda name: away() if name == "a" else None
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"new")
        begun = trio.current_time()
        with pytest.raises(TimedOut):
            await one.fs.scheduler.carry_out(
                Change(ChangeKind.ATTRIBUTES, (await one.find("/a")).number, None, Fields())
            )
        assert trio.current_time() - begun == pytest.approx(15, abs=15)
        assert [record.change.kind for record in one.fs.outbox] == [ChangeKind.CONTENT]


async def test_a_change_waits_as_long_as_what_is_before_it_moves(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 10
    async with machine(remote, tmp_path, uploads=1) as one:
        for name in "abcdef":
            await one.write(f"/{name}", b"")
        number = (await one.find("/f")).number
        await one.fs.scheduler.carry_out(Change(ChangeKind.ATTRIBUTES, number, None, Fields()))
        assert [request.name for request in remote.requests if request.what == "store"] == list("abcdef")


async def test_a_change_that_nobody_waits_for_any_more_is_taken_back_unless_it_is_on_its_way(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, sending=False) as one:
        with trio.move_on_after(3):
            await one.fs.scheduler.carry_out(mkdir())
        assert len(one.fs.outbox) == 0
    gate = Gate()
    remote.script.append(gate)
    async with machine(remote, tmp_path) as one:
        with trio.move_on_after(3):
            await one.fs.scheduler.carry_out(mkdir())
        assert [record.state for record in one.fs.outbox] == [State.SENDING]
        gate.open()
        await one.drained()
        assert await one.names() == ["d"]


async def test_a_delete_of_what_is_gone_is_done(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path / "one") as one, machine(remote, tmp_path / "two") as two:
        await one.write("/a", b"")
        await one.drained()
        assert await two.names() == ["a"]
        await one.unlink("/a")
        await two.unlink("/a")
        assert await two.names() == []
        assert len(two.fs.outbox) == 0


# --- drained and settled ----------------------------------------------------------------------------------------------


async def test_drained_waits_for_the_changes_of_that_moment_and_not_for_later_ones(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    late = Gate()
    remote.otherwise = lambda name: late if name == "late" else None
    remote.send_seconds = 5
    async with machine(remote, tmp_path) as one:
        await one.drained()
        await one.write("/early", b"")
        newest = one.fs.outbox.newest_id
        await one.write("/late", b"")
        await one.fs.scheduler.drained(newest)
        assert stored(remote) == {"early": b""}
        with trio.move_on_after(100) as scope:
            await one.drained()
        assert scope.cancelled_caught
        late.open()
        await one.drained()


async def test_drained_does_not_wait_for_what_a_problem_holds_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.otherwise = lambda name: Forbidden("no") if name == "d" else None
    async with machine(remote, tmp_path, sending=False) as one:
        one.fs.outbox.append(mkdir())
        one.fs.outbox.append(
            Change(ChangeKind.SYMLINK, 1001, None, Fields(parent=1000, name="child")), state=State.READY
        )
        await one.write("/other", b"x")
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert stored(remote) == {"other": b"x"}
        assert [record.state for record in one.fs.outbox] == [State.PROBLEM, State.READY]


async def test_settled_waits_until_nothing_of_the_file_is_on_its_way(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    gate = Gate()
    remote = ScriptedRemote(None, gate)
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"")
        await gate.reached.wait()
        number = (await one.find("/a")).number
        settled = trio.Event()

        async def wait() -> None:
            await one.fs.scheduler.settled(number)
            settled.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(10)
            assert not settled.is_set()
            gate.open()
        await one.fs.scheduler.settled(number)


async def test_settled_gives_up_when_nothing_moves(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote(None, Gate())
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"")
        number = (await one.find("/a")).number
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TimedOut):
            await one.fs.scheduler.settled(number)


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_so_many_contents_go_at_once_and_a_folder_does_not_wait_for_them(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    remote.send_seconds = 60
    async with machine(remote, tmp_path, uploads=3) as one:
        for number in range(9):
            await one.write(f"/{number}", b"")
        begun = trio.current_time()
        await one.mkdir("/d")
        assert trio.current_time() - begun < 1
        await one.drained()
        assert remote.most_at_once == 3
        assert trio.current_time() - begun == pytest.approx(180, abs=1)


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
        assert stored(remote) == {"a": b"generation 19"}
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
        assert stored(remote) == {}
        one.fs.scheduler.end_of_writers()
        await one.drained()
        assert stored(remote) == {"a": b"text"}


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
    assert stored(remote) == {"a": b"text"}


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
        assert stored(remote) == {"a": b"text"}
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
        assert stored(remote) == {"a": b"second"}
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
        assert stored(remote) == {"final": b"text"}
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
        assert stored(remote) == {"a": b"a", "b": b"b"}
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
        assert stored(remote) == {}
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
        assert stored(remote) == {"a": b"a", "b": b"b"}


async def test_the_log_of_the_outbox_does_not_grow_for_ever(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitcasafs.writing.scheduler.LOG_BYTES", 100_000)
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
