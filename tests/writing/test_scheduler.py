"""How changes reach the portal: repeated, refused, waited for, cancelled and taken up again; all in virtual time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import (
    BitcasaError,
    Busy,
    Forbidden,
    LoginRefused,
    ProtocolError,
    QuotaExceeded,
    TimedOut,
)
from bitcasafs.vfs.nodes import ROOT
from bitcasafs.writing.change import Change, ChangeKind, Fields, State
from tests.conftest import ExpectedLogs
from tests.support.machine import machine
from tests.support.scripted import Gate, ScriptedRemote, away

LARGE = bytes(300_000)
"""More than shares a request with others."""


def mkdir(name: str = "d", node: int = 1000) -> Change:
    return Change(ChangeKind.MKDIR, node, None, Fields(parent=ROOT, name=name))


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
        assert remote.stored == {"a": b"text"}
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
        assert remote.stored == {"a": b"text"}
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
        assert remote.stored == {"good": b""}


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
        assert remote.stored == {"a": b"short"}
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
        assert remote.stored == {"a": b"third"}
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


@pytest.mark.parametrize("error", [Forbidden("no"), away(), LoginRefused("wrong password")])
async def test_who_waits_for_a_change_gets_the_reason_and_it_is_taken_back(
    tmp_path: Path, autojump_clock: trio.abc.Clock, error: BitcasaError
) -> None:
    remote = ScriptedRemote(None, error)
    async with machine(remote, tmp_path) as one:
        with pytest.raises(type(error)):
            await one.fs.deliveries.carry_out(mkdir())
        assert len(one.fs.outbox) == 0
        await one.mkdir("/d")
        await one.drained()
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
            await one.fs.deliveries.carry_out(
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
            await one.write(f"/{name}", LARGE)
        number = (await one.find("/f")).number
        await one.fs.deliveries.carry_out(Change(ChangeKind.ATTRIBUTES, number, None, Fields()))
        assert [request.name for request in remote.requests if request.what == "store"] == list("abcdef")


async def test_a_change_that_nobody_waits_for_any_more_is_taken_back_unless_it_is_on_its_way(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, sending=False) as one:
        with trio.move_on_after(3):
            await one.fs.deliveries.carry_out(mkdir())
        assert len(one.fs.outbox) == 0
    gate = Gate()
    remote.script.append(gate)
    async with machine(remote, tmp_path) as one:
        with trio.move_on_after(3):
            await one.fs.deliveries.carry_out(mkdir())
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
        await one.drained()
        await two.unlink("/a")
        await two.drained()
        assert await two.names() == []
        assert not list(two.fs.problems())


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
        await one.write("/early", LARGE)
        newest = one.fs.outbox.newest_id
        await one.write("/late", LARGE)
        await one.fs.deliveries.drained(newest)
        assert remote.stored == {"early": LARGE}
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
        assert remote.stored == {"other": b"x"}
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
            await one.fs.deliveries.settled(number)
            settled.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(10)
            assert not settled.is_set()
            gate.open()
        await one.fs.deliveries.settled(number)


async def test_settled_gives_up_when_nothing_moves(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote(None, Gate())
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"")
        number = (await one.find("/a")).number
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TimedOut):
            await one.fs.deliveries.settled(number)
