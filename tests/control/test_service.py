"""The mount's socket, service and client together."""

from __future__ import annotations

import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from bitcasafs.control.changes import ChangeStatus, ContentStatus
from bitcasafs.control.client import ask_changes, ask_content, ask_handover, ask_status, replies
from bitcasafs.control.messages import Ask, Reply, ReplyKind, Request
from bitcasafs.control.registry import connect
from bitcasafs.errors import Refused, Unreachable
from bitcasafs.status import NoticeStatus, ProblemStatus
from tests.support.fake_drive import called, served


async def test_status_answers_a_snapshot(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        assert await called(ask_status, path) == drive.current


async def test_the_brief_status_leaves_most_problems_out_and_counts_them(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        problems = tuple(ProblemStatus(f"/{number}", "refused") for number in range(500))
        notices = (NoticeStatus("/a", "theirs stays"),)
        drive.current = replace(drive.current, problems=problems, problem_count=500, notices=notices)
        told = await called(lambda: ask_status(path, brief=True))
        assert told.problem_count == 500
        assert (len(told.problems), told.notices) == (20, ())


async def test_sync_tells_progress_until_the_changes_of_that_moment_are_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        stream = replies(path, Request(Ask.SYNC))
        first = await called(next, stream)
        assert first == Reply(ReplyKind.PROGRESS, drive.current)
        assert drive.asked == [5]
        drive.current = replace(drive.current, pending=0)
        drive.sent.set()
        rest = await called(lambda: list(stream))
        assert rest[-1] == Reply(ReplyKind.DONE, drive.current)
        assert {reply.kind for reply in rest[:-1]} <= {ReplyKind.PROGRESS}


async def test_sync_waits_up_to_the_change_that_was_named(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        drive.sent.set()
        await called(lambda: list(replies(path, Request(Ask.SYNC, until=2))))
        assert drive.asked == [2]


async def test_a_client_that_goes_away_ends_its_own_wait_only(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, service):
        stream = replies(path, Request(Ask.SYNC))
        await called(next, stream)
        assert drive.waiting == 1
        await called(stream.close)  # type: ignore[attr-defined]
        with trio.fail_after(10):
            await service.quiet()
        assert drive.waiting == 0
        assert await called(ask_status, path) == drive.current


async def test_end_waits_for_the_end_of_the_mount(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        stream = replies(path, Request(Ask.END))
        await called(next, stream)
        drive.end.set()
        assert (await called(lambda: list(stream)))[-1].kind is ReplyKind.DONE


async def test_a_mount_is_not_handed_over_and_what_only_sends_is(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        with pytest.raises(Refused, match="mounted"):
            await called(ask_handover, path)
        drive.current = replace(drive.current, mounted=False)
        await called(ask_handover, path)
        assert drive.handed_over


async def test_nonsense_is_refused_and_the_service_lives(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, _, _service):
        for nonsense in (b"GET / HTTP/1.1\r\n", b"x" * 10_000 + b"\n", b"{}\n"):

            def send(data: bytes = nonsense) -> bytes:
                with connect(path, timeout_seconds=5) as stream:
                    stream.sendall(data)
                    stream.shutdown(socket.SHUT_WR)
                    with stream.makefile("rb") as lines:
                        return lines.readline()

            assert b'"refused"' in await called(send)
        assert (await called(ask_status, path)).pid == 7


async def test_nobody_listening_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        await called(ask_status, tmp_path / "nobody.sock")
    async with served(tmp_path) as (path, _, _service):
        pass
    with pytest.raises(Unreachable):
        await called(ask_status, path)


async def test_a_mount_that_goes_away_while_it_is_waited_for_is_told_as_that(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, _, _service):
        stream = replies(path, Request(Ask.SYNC))
        await called(next, stream)
    with pytest.raises(Unreachable):
        await called(lambda: list(stream))


async def test_a_socket_in_a_deep_folder_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    async with served(deep) as (path, drive, _):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert await called(ask_status, path) == drive.current


# --- the outbox -------------------------------------------------------------------------------------------------------


async def test_what_is_asked_of_the_outbox_is_done_and_told(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        for request, done in (
            (Request(Ask.OUTBOX, everything=True), ("changes", True)),
            (Request(Ask.RETRY), ("retry", None)),
            (Request(Ask.RETRY, changes=(7, 8)), ("retry", (7, 8))),
            (Request(Ask.PLAN_DISCARD, changes=(7,), recursive=True), ("plan", (7,), True)),
            (Request(Ask.DISCARD, changes=(7,)), ("discard", (7,), False)),
        ):
            assert await called(ask_changes, path, request) == drive.known
            assert drive.done[-1] == done


async def test_ten_thousand_changes_come_in_several_lines(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        drive.known = [ChangeStatus(number, f"{'ä' * 200}/{number}", reason="voll") for number in range(10_000)]
        request = Request(Ask.OUTBOX)
        assert await called(ask_changes, path, request) == drive.known
        kinds = [reply.kind for reply in await called(lambda: list(replies(path, request)))]
        assert kinds.count(ReplyKind.CHANGES) > 1
        assert kinds[-1] is ReplyKind.DONE


async def test_no_change_is_told_as_none(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        drive.known = []
        assert await called(ask_changes, path, Request(Ask.OUTBOX)) == []


@pytest.mark.parametrize(
    "written", [None, (), ((0, 3),), tuple((number, number + 1) for number in range(0, 90_000, 2))]
)
async def test_where_a_content_lies_is_told_with_all_its_ranges(
    tmp_path: Path, written: tuple[tuple[int, int], ...] | None
) -> None:
    async with served(tmp_path) as (path, drive, _):
        drive.content_there = ContentStatus("/staged/a", 1 << 40, written)
        assert await called(ask_content, path, 7) == drive.content_there


async def test_what_cannot_be_done_with_a_change_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, _, _service):
        with pytest.raises(Refused, match="there is no change 999"):
            await called(ask_changes, path, Request(Ask.RETRY, changes=(999,)))
        with pytest.raises(Refused, match="one change"):
            await called(lambda: list(ask_changes(path, Request(Ask.EXPORT, changes=(7, 8)))))
