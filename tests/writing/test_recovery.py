"""Recovery: what an earlier mount left, after a kill of the process."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import NoSpace
from bitcasafs.values.items import Kind, Version
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State
from bitcasafs.writing.known_node import KnownNode
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.recovery import Recovered, recover
from bitcasafs.writing.staging import Staging
from tests.support.machine import machine
from tests.support.scripted import Gate, ScriptedRemote, away

TODAY = date(2026, 11, 24)
ASIDE = "(recovered 2026-11-24)"


class Left:
    """What lies in a state folder, made by hand."""

    def __init__(self, folder: Path, boot_id: str = "boot") -> None:
        self.folder = folder
        self.outbox = Outbox(folder, boot_id)
        self.staging = Staging(folder / "staged")
        self.outbox.remember(KnownNode(1, None, None, "", "/", Kind.FOLDER))

    def content(self, node: int, data: bytes, *, sealed: bool, **fields: object) -> Record:
        staged = self.staging.create(self.outbox.newest_id + 1, f"f{node}")
        staged.write(0, data)
        change = Change(ChangeKind.CONTENT, node, fields.pop("base", None), Fields(**fields))  # type: ignore[arg-type]
        record = self.outbox.append(change, state=State.OPEN, staged=staged.name)
        if not sealed:
            return record
        size = replace(change, fields=replace(change.fields, size_bytes=len(data)))
        return self.outbox.seal(record, size)

    def recovered(self, highest: int = 1) -> Recovered:
        return recover(self.outbox, self.staging, today=TODAY, highest=highest)

    def close(self) -> None:
        self.staging.close()
        self.outbox.close()


# --- never closed -----------------------------------------------------------------------------------------------------


async def test_a_file_that_was_never_written_is_forgotten(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/old", b"old")
        await one.drained()
        await one.open("/new", os.O_WRONLY | os.O_CREAT)
        handle = await one.open("/old", os.O_WRONLY)
        await one.fs.files.write(handle, 0, b"")
        await one.fs.files.fsync(await one.open("/kept", os.O_WRONLY | os.O_CREAT), data_only=False)
        remote.otherwise = lambda _: away()
    remote.otherwise = lambda _: None
    async with machine(remote, tmp_path) as one:
        assert one.recovered.aside == ()
        await one.drained()
        assert await one.tree() == {"/old": b"old", "/kept": b""}
        assert list((tmp_path / "staged").iterdir()) == []


async def test_what_was_never_closed_never_goes_over_the_name_and_is_beside_it(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.mkdir("/d")
        await one.write("/d/letter.odt", b"good")
        await one.drained()
        number = (await one.find("/d/letter.odt")).number
        handle = await one.open("/d/letter.odt", os.O_WRONLY | os.O_TRUNC)
        await one.fs.files.write(handle, 0, b"half a sen")
    async with machine(remote, tmp_path) as one:
        aside = f"/d/letter {ASIDE}.odt"
        assert one.recovered.aside == (f"letter {ASIDE}.odt",)
        for _ in range(2):
            assert await one.tree() == {"/d": None, "/d/letter.odt": b"good", aside: b"half a sen"}
            assert (await one.find("/d/letter.odt")).number == number
            assert (await one.find(aside)).number > number
            await one.drained()
        assert not list(one.fs.problems())
        assert remote.stored == {"letter.odt": b"good", f"letter {ASIDE}.odt": b"half a sen"}
    async with machine(remote, tmp_path) as one:  # it is a file like any other by now
        assert one.recovered == Recovered(0, (), 0, 0, ())


async def test_two_of_one_name_have_names_of_their_own(tmp_path: Path) -> None:
    left = Left(tmp_path)
    left.outbox.remember(KnownNode(2, None, 1, f"f {ASIDE}", "/x", Kind.FILE))
    for node in (5, 6):
        left.content(node, b"x", sealed=False, parent=1, name="f")
    left.content(7, b"x", sealed=True, parent=1, name=f"f {ASIDE[:-1]} 2)")
    assert sorted(left.recovered().aside) == ["f (recovered 2026-11-24 3)", "f (recovered 2026-11-24 4)"]
    left.close()


async def test_content_of_a_file_that_a_pending_change_moves_is_recovered_where_users_saw_it(tmp_path: Path) -> None:
    left = Left(tmp_path)
    for number, kind in ((2, Kind.FOLDER), (3, Kind.FOLDER), (5, Kind.FILE), (6, Kind.FILE)):
        left.outbox.remember(KnownNode(number, None, 1, f"n{number}", f"/n{number}", kind))
    left.outbox.append(Change(ChangeKind.MOVE, 5, None, Fields(old_parent=1, old_name="n5", parent=2, name="moved")))
    left.outbox.append(
        Change(
            ChangeKind.MOVE,
            5,
            None,
            Fields(old_parent=2, old_name="moved", parent=3, name="other", over_node=6, exchange=True),
        )
    )
    for node in (5, 6):
        left.content(node, b"x", sealed=False, base=Version("v"), base_id="id", base_bytes=0)
    left.recovered(highest=40)
    found = {record.change.fields.parent: record for record in left.outbox if record.change.kind is ChangeKind.CONTENT}
    assert found[3].change.fields.name == f"other {ASIDE}"
    assert found[2].change.fields.name == f"moved {ASIDE}"
    assert {record.change.node for record in found.values()} == {41, 42}
    for record in found.values():
        assert (record.change.base, record.change.fields.base_version) == (None, "v")
    assert {41, 42} <= {one.number for one in left.outbox.known_nodes()}
    left.close()


async def test_a_folder_that_is_not_known_any_more_is_no_obstacle(tmp_path: Path) -> None:
    left = Left(tmp_path)
    left.content(7, b"x", sealed=False)
    left.content(8, b"x", sealed=False, parent=99, name="b")
    left.recovered()
    places = {(record.change.fields.parent, record.change.fields.name) for record in left.outbox}
    assert places == {(1, f"f7 {ASIDE}"), (1, f"b {ASIDE}")}
    left.close()


async def test_what_is_written_while_it_is_sent_is_recovered_beside_what_was_closed(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, sending = ScriptedRemote(), Gate()
    remote.script.append(sending)
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"closed")
        await sending.reached.wait()
        handle = await one.open("/a", os.O_WRONLY)
        await one.fs.files.write(handle, 0, b"NOT  ")
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert await one.tree() == {"/a": b"closed", f"/a {ASIDE}": b"NOT  d"}


# --- files that somebody removed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [True, False])
async def test_content_whose_file_is_gone_is_a_problem_and_stays_one(tmp_path: Path, sealed: bool) -> None:
    left = Left(tmp_path)
    record = left.content(5, b"x", sealed=sealed, parent=1, name="f")
    assert record.staged is not None
    left.staging.remove(record.staged)
    assert left.recovered().lost == 1
    assert left.recovered().lost == 0
    assert [(one.state, one.reason) for one in left.outbox] == [(State.PROBLEM, "its staged file is gone")]
    left.close()


async def test_files_of_no_known_change_are_left_alone(tmp_path: Path) -> None:
    left = Left(tmp_path)
    (left.staging.folder / "00000099 somebody's").write_bytes(b"x")
    assert left.recovered().strangers == ("00000099 somebody's",)
    assert (left.staging.folder / "00000099 somebody's").exists()
    left.close()


# --- once, whole ------------------------------------------------------------------------------------------------------


class FullDisk(Outbox):
    """The `left`th change of what is there finds the disk full."""

    left = 3

    def update(self, record: Record) -> Record:
        self.left -= 1
        if not self.left:
            raise NoSpace("full")
        return super().update(record)


async def test_a_recovery_that_fails_in_the_middle_has_changed_nothing_and_is_done_again(tmp_path: Path) -> None:
    left = Left(tmp_path)
    for node in range(2, 6):
        left.content(node, b"x" * (node % 2), sealed=False, parent=1, name=f"f{node}")
    before = list(left.outbox)
    left.close()
    outbox, staging = FullDisk(tmp_path, "boot"), Staging(tmp_path / "staged")
    for node in (3, 5):
        outbox.left = 2
        with pytest.raises(NoSpace):
            recover(outbox, staging, today=TODAY)
        assert {record.id: record for record in outbox} == {record.id: record for record in before}, node
        assert len(staging.names()) == 4
    outbox.left = 0
    assert recover(outbox, staging, today=TODAY) == Recovered(2, (f"f5 {ASIDE}", f"f3 {ASIDE}"), 2, 0, ())
    outbox.close()


class Counting(Outbox):
    """Counts statements."""

    def __init__(self, folder: Path, boot_id: str) -> None:
        self.executed: Counter[str] = Counter()
        super().__init__(folder, boot_id)

    def _execute(self, statement, values=()):  # type: ignore[no-untyped-def]
        self.executed[statement.split()[0]] += 1
        return super()._execute(statement, values)


@pytest.mark.parametrize("boot_id", ["boot", "another boot"])
async def test_what_a_recovery_costs_grows_with_what_it_finds_and_no_faster(tmp_path: Path, boot_id: str) -> None:
    """Ten thousand changes must not delay a mount."""
    work: list[Counter[str]] = []
    for number in (50, 100):
        left = Left(tmp_path / str(number))
        for node in range(2, number + 2):
            left.content(node, b"x", sealed=True, parent=1, name=f"f{node}")
        left.close()
        outbox, staging = Counting(tmp_path / str(number), boot_id), Staging(tmp_path / str(number) / "staged")
        calls = Counter[str]()
        sys.setprofile(lambda frame, event, _, calls=calls: calls.update([event]))
        found = recover(outbox, staging, today=TODAY)
        sys.setprofile(None)
        assert (found.to_send, len(found.aside)) == (number, 0 if boot_id == "boot" else number)
        work.append(outbox.executed + calls)
        outbox.close()
    assert work[1]["BEGIN"] == 2  # what becomes of them, and the nodes that are not needed
    assert work[1]["call"] > 1000
    for what, times in work[1].items():
        assert times <= 2 * work[0][what] + 5, what


async def test_files_of_changes_that_were_dropped_before_a_kill_are_cleared_and_those_of_others_are_not(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, staged = ScriptedRemote(), tmp_path / "staged"
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"a")
        await one.drained()
    strays = {"00000001 a", "00000001.map b", "00000900 newer than any record"}
    others = {"notes.txt", "00000001older", "00000001 older"}
    for name in strays | others:
        (staged / name).write_bytes(b"content")
    os.utime(staged / "00000001 older", ns=(1, 1))  # of an outbox that was there before this one
    async with machine(remote, tmp_path, boot_id="another") as one:
        assert {path.name for path in staged.iterdir()} == others | {"00000900 newer than any record"}
    async with machine(remote, tmp_path, boot_id="another") as one:
        assert {path.name for path in staged.iterdir()} == others
