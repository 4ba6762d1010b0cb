"""Sealed content survives a power cut soon, without cost to the loop or to what is sent at once."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import NoSpace
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.syncing import AT_ONCE, RETRY_SECONDS, StateDisk, Syncing


class SlowDisk:
    """Notes what it is asked; each question takes `seconds`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: dict[str, OSError] = {}
        self.seconds = 0.1
        self.at_once = self.most_at_once = 0
        self.meanwhile = lambda: None
        self.reached = trio.Event()

    async def sync_files(self, names: Sequence[str]) -> Sequence[OSError | None]:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.asked.extend(names)
        await trio.sleep(self.seconds)
        self.meanwhile()
        self.at_once -= 1
        return [self.errors.get(name) for name in names]

    async def sync_names(self) -> None:
        self.asked.append("names")
        self.reached.set()
        await trio.sleep(self.seconds)

    async def sync_log(self) -> None:
        self.asked.append("log")
        await trio.sleep(self.seconds)


def sealed(outbox: Outbox, name: str, size: int = 1) -> Record:
    opened = outbox.append(Change(ChangeKind.CONTENT, 2, None, Fields()), state=State.OPEN, staged=name)
    return outbox.seal(opened, replace(opened.change, fields=Fields(size_bytes=size)))


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, "boot")


@asynccontextmanager
async def syncing(outbox: Outbox) -> AsyncIterator[SlowDisk]:
    disk = SlowDisk()
    async with trio.open_nursery() as nursery:
        await nursery.start(Syncing(outbox, disk).run)
        yield disk
        nursery.cancel_scope.cancel()
    outbox.close()


async def changed(outbox: Outbox) -> None:
    event = trio.Event()
    outbox.watch_once(event.set)
    await event.wait()


async def test_sealed_content_is_synced_within_five_seconds_file_first_and_log_last(
    outbox: Outbox, autojump_clock: trio.abc.Clock
) -> None:
    async with syncing(outbox) as disk:
        for number in range(20):
            await trio.sleep(0.31)
            sealed(outbox, f"f{number}")
            began = trio.current_time()
            while not list(outbox)[-1].synced:
                await changed(outbox)
            assert trio.current_time() - began < 4
        await trio.sleep(60)
        assert all(record.synced for record in outbox)
        assert disk.asked[-3:] == ["f19", "names", "log"]


async def test_a_change_of_names_is_durable_soon_and_then_the_disk_is_left_alone(
    outbox: Outbox, autojump_clock: trio.abc.Clock
) -> None:
    async with syncing(outbox) as disk:
        outbox.append(Change(ChangeKind.MKDIR, 2, None, Fields(parent=1, name="d")))
        await trio.sleep(5)
        assert disk.asked == ["log"]
        await trio.sleep(1000)
        assert disk.asked == ["log"]


async def test_what_is_sent_at_once_costs_no_fsync(outbox: Outbox, autojump_clock: trio.abc.Clock) -> None:
    async with syncing(outbox) as disk:
        for number in range(50):
            record = sealed(outbox, f"f{number}")
            await trio.sleep(1)
            outbox.remove(record.id)
        await trio.sleep(10)
        assert set(disk.asked) == {"log"}


@pytest.mark.parametrize("then", ["written", "sealed anew", "sent", "sending"])
async def test_what_changes_while_it_is_synced_is_marked_only_when_it_is_the_same(
    outbox: Outbox, autojump_clock: trio.abc.Clock, then: str
) -> None:
    async with syncing(outbox) as disk:
        record = sealed(outbox, "f")

        def change() -> None:
            disk.meanwhile = lambda: None
            match then:
                case "written":
                    outbox.update(record.moved(State.OPEN))
                case "sealed anew":
                    outbox.seal(record, record.change)
                case "sent":
                    outbox.remove(record.id)
                case "sending":
                    outbox.update(record.moved(State.SENDING))

        disk.meanwhile = change
        await disk.reached.wait()
        await trio.sleep(0.5)
        assert [one.synced for one in outbox] == ([] if then == "sent" else [then == "sending"])
        await trio.sleep(10)
        assert [one.synced for one in outbox] == ([] if then == "sent" else [then != "written"])


async def test_many_small_files_share_what_can_be_shared_and_go_before_large_ones(
    outbox: Outbox, autojump_clock: trio.abc.Clock
) -> None:
    async with syncing(outbox) as disk:
        told: list[int] = []
        sealed(outbox, "large", 1 << 30)
        for number in range(1000):
            sealed(outbox, f"f{number}")
        outbox.watch(lambda: told.append(1))
        await trio.sleep(60)
        assert all(record.synced for record in outbox)
        assert disk.asked.count("names") == len(told) == 9
        assert disk.asked.count("log") == 2  # the first look, and the round
        assert disk.asked[-3:] == ["large", "names", "log"]
        assert disk.most_at_once == AT_ONCE


async def test_a_disk_that_errs_is_told_of_once_and_asked_again_later(
    outbox: Outbox, autojump_clock: trio.abc.Clock, expected_logs: object
) -> None:
    expected_logs.allow("power cut: .*bad")  # type: ignore[attr-defined]
    async with syncing(outbox) as disk:
        disk.errors = {"f": OSError(errno.EIO, "bad block"), "gone": FileNotFoundError(errno.ENOENT, "gone")}
        for name in ("f", "gone", "g"):
            sealed(outbox, name)
        await trio.sleep(10)
        assert [record.synced for record in outbox] == [False, False, True]
        before = len(disk.asked)
        await trio.sleep(RETRY_SECONDS - 10)
        assert len(disk.asked) == before
        del disk.errors["f"]
        await trio.sleep(RETRY_SECONDS)
        assert [record.synced for record in outbox] == [True, False, True]
    assert len(expected_logs.records) == 1  # type: ignore[attr-defined]


class FullOutbox(Outbox):
    full = False

    def update(self, record: Record) -> Record:
        if self.full:
            raise NoSpace("the disk of the outbox is full")
        return super().update(record)


@pytest.mark.allow_log("power cut: .*full")
async def test_a_mark_that_cannot_be_made_is_made_later(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    outbox = FullOutbox(tmp_path, "boot")
    async with syncing(outbox):
        sealed(outbox, "f")
        outbox.full = True
        await trio.sleep(10)
        outbox.full = False
        await trio.sleep(2 * RETRY_SECONDS)
        assert [record.synced for record in outbox] == [True]


async def test_cancelling_it_anywhere_leaves_an_outbox_that_says_no_more_than_is_true(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    for step in range(60):
        outbox = Outbox(tmp_path / str(step), "boot")
        disk = SlowDisk()
        sealed(outbox, "f")
        with trio.move_on_after(step * 0.1):
            await Syncing(outbox, disk).run()
        assert [record.synced for record in outbox] in ([False], ["names" in disk.asked])
        outbox.close()


async def test_the_end_of_a_mount_syncs_all_on_the_real_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    outbox = Outbox(tmp_path, "boot")
    for name in ("00000001 a", "00000002 b", "00000002.map b", "00000003 gone"):
        (staged / name).write_bytes(b"x")
    for name in ("00000001 a", "00000002 b", "00000003 gone"):
        sealed(outbox, name)
    (staged / "00000003 gone").unlink()
    opened = outbox.append(Change(ChangeKind.CONTENT, 3, None, Fields()), state=State.OPEN, staged="open")
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await Syncing(outbox, StateDisk(outbox, staged)).everything()
    assert [record.synced for record in outbox] == [True, True, False, False]
    assert outbox.get(opened.id) == opened
    assert set(synced) == {
        "00000001 a",
        "00000002 b",
        "00000002.map b",
        "staged",
        "outbox.sqlite3-wal",
        tmp_path.name,
    }
    outbox.close()
