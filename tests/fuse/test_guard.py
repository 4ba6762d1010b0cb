"""Whatever a handler raises becomes an errno; a fault is counted and logged, and the mount lives on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyfuse3
import pytest
import trio

from bitcasafs.errors import NotFound, ProtocolError
from bitcasafs.fuse.guard import Guard
from bitcasafs.values.items import Kind
from bitcasafs.vfs.entry import Entry, Handle, Row, Space
from tests.conftest import ExpectedLogs
from tests.support.kernel_mount import mounted_core


def test_a_known_error_becomes_its_errno_and_is_no_fault() -> None:
    guard = Guard()
    with pytest.raises(pyfuse3.FUSEError) as caught, guard.on("lookup"):
        raise NotFound("no such name")
    assert caught.value.errno == errno.ENOENT
    assert guard.statistics().faults == 0


def test_an_errno_that_was_raised_on_purpose_passes() -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught, Guard().on("lookup"):
        raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
    assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.allow_log("read failed in a way that nobody foresaw")
def test_a_fault_is_eio_counted_and_logged_with_its_traceback(expected_logs: ExpectedLogs) -> None:
    guard = Guard()
    with pytest.raises(pyfuse3.FUSEError) as caught, guard.on("read"):
        raise RuntimeError("a bug")
    assert caught.value.errno == errno.EIO
    assert guard.statistics().faults == 1
    assert guard.statistics().last_fault == "read: RuntimeError"
    assert expected_logs.records[0].exc_info is not None


@pytest.mark.allow_log("lookup: the listing")
def test_what_does_not_follow_the_protocol_is_logged_as_a_warning(expected_logs: ExpectedLogs) -> None:
    with pytest.raises(pyfuse3.FUSEError), Guard().on("lookup"):
        raise ProtocolError("the listing is no array", 7)
    assert [record.levelname for record in expected_logs.records] == ["WARNING"]


async def test_cancellation_passes() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with Guard().on("read"):
            await trio.sleep_forever()
    assert scope.cancelled_caught


def test_a_handler_without_error_raises_nothing() -> None:
    with Guard().on("read"):
        pass


class BrokenCore:
    """One file whose every operation has a bug, in a folder that works."""

    def __init__(self) -> None:
        self.names = self.files = self.folders = self.attributes = self

    def entry(self, number: int) -> Entry:
        kind = Kind.FOLDER if number == 1 else Kind.FILE
        return Entry(number, kind, 0o777, os.getuid(), os.getgid(), 5, 0, 0, 0)

    async def get(self, number: int, handle: Handle | None = None) -> Entry:
        return self.entry(number)

    async def lookup(self, parent: int, name: str) -> Entry:
        if name == "file":
            return self.entry(2)
        raise RuntimeError("lookup")

    def forget(self, counts: object) -> None:
        raise RuntimeError("forget")

    async def open(self, number: int, flags: int = 0) -> Handle:
        if number == 1:
            return Handle(1)
        raise RuntimeError("open")

    def rows(self, handle: Handle, cookie: int) -> list[Row]:
        return [Row(1, "file", self.entry(2))][cookie:]

    def handed_over(self, row: Row) -> None:
        return

    def release(self, handle: Handle) -> None:
        raise KeyError("release")

    async def create(self, *arguments: object) -> None:
        raise ExceptionGroup("nursery", [RuntimeError("create")])

    async def set(self, number: int, wanted: object, handle: object) -> Entry:
        raise ZeroDivisionError

    async def space(self) -> Space:
        return Space(2**50, 2**50, 0)

    async def get_xattr(self, number: int, name: str) -> bytes:
        raise AttributeError("get_xattr")


@pytest.mark.allow_log("failed in a way that nobody foresaw")
async def test_a_mount_whose_core_is_broken_answers_eio_and_lives(tmp_path: Path) -> None:
    async with mounted_core(BrokenCore(), tmp_path) as mounted:
        file = tmp_path / "file"
        faulty = [
            lambda: os.stat(tmp_path / "other"),
            lambda: os.open(file, os.O_RDONLY),
            lambda: os.open(tmp_path / "new", os.O_CREAT | os.O_WRONLY),
            lambda: os.truncate(file, 0),
            lambda: os.getxattr(file, "user.some"),
        ]
        for call in faulty:
            with pytest.raises(OSError) as caught:
                await mounted.call(call)
            assert caught.value.errno == errno.EIO
        assert await mounted.call(os.listdir, tmp_path) == ["file"]
        assert (await mounted.call(os.stat, file)).st_size == 5
        assert mounted.guard.statistics().faults >= len(faulty)
