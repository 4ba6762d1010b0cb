"""The mount's socket, service and client together."""

from __future__ import annotations

import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from bitcasafs.control.client import ask_handover, ask_status, replies
from bitcasafs.control.messages import Ask, Reply, ReplyKind, Request
from bitcasafs.control.registry import connect
from bitcasafs.control.service import ControlService
from bitcasafs.errors import BitcasaError, Refused, Unreachable
from bitcasafs.status import ProblemStatus, Status

T = TypeVar("T")


class FakeDrive:
    """A drive whose changes are sent when the test says so."""

    def __init__(self) -> None:
        self.current = Status(7, "/mnt", "portal", "1", pending=3, newest_change=5)
        self.sent = trio.Event()
        self.end = trio.Event()
        self.asked: list[int] = []
        self.waiting = 0
        self.handed_over = False

    def status(self) -> Status:
        return self.current

    async def drained(self, until: int) -> None:
        self.asked.append(until)
        self.waiting += 1
        try:
            await self.sent.wait()
        finally:
            self.waiting -= 1

    async def ended(self) -> None:
        await self.end.wait()

    def hand_over(self) -> None:
        if self.current.mounted:
            raise BitcasaError("it is mounted")
        self.handed_over = True


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Path, FakeDrive, ControlService]]:
    drive = FakeDrive()
    path = folder / "mount.sock"
    service = ControlService(path, drive)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        yield path, drive, service
        nursery.cancel_scope.cancel()


async def called(function: Callable[..., T], *arguments: object) -> T:
    return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


async def test_status_answers_a_snapshot(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        assert await called(ask_status, path) == drive.current


async def test_the_brief_status_leaves_most_problems_out_and_counts_them(tmp_path: Path) -> None:
    async with served(tmp_path) as (path, drive, _):
        problems = tuple(ProblemStatus(f"/{number}", "refused") for number in range(500))
        drive.current = replace(drive.current, problems=problems, problem_count=500)
        told = await called(lambda: ask_status(path, brief=True))
        assert told.problem_count == 500
        assert len(told.problems) == 20


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
