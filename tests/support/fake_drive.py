"""A mount's control service over a drive that does nothing but remember what was asked: for tests of both ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from bitcasafs.control.changes import ChangeStatus, ContentStatus
from bitcasafs.control.service import ControlService
from bitcasafs.errors import BitcasaError
from bitcasafs.status import Status

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
        self.known = [ChangeStatus(7, "letter", "content", "new file", "problem", 12, "the drive is full")]
        self.content_there = ContentStatus("/nowhere", 0)
        self.done: list[tuple[object, ...]] = []

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

    # Every number but 999 is a change.

    def changes(self, *, everything: bool) -> Sequence[ChangeStatus]:
        return self._note("changes", everything)

    def retry(self, numbers: Sequence[int] | None) -> Sequence[ChangeStatus]:
        return self._note("retry", numbers)

    def content(self, number: int) -> ContentStatus:
        return self.content_there

    def plan_discard(self, numbers: Sequence[int], *, recursive: bool) -> Sequence[ChangeStatus]:
        return self._note("plan", numbers, recursive)

    def discard(self, numbers: Sequence[int], *, recursive: bool) -> Sequence[ChangeStatus]:
        return self._note("discard", numbers, recursive)

    def _note(self, *what: object) -> Sequence[ChangeStatus]:
        if (999,) in what:
            raise BitcasaError("there is no change 999")
        self.done.append(what)
        return self.known


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
