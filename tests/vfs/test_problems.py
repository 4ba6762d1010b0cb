"""What a person decides about changes that could not be sent."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bitcasafs.errors import BitcasaError
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Attributes, Kind
from bitcasafs.vfs.nodes import ROOT
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State
from tests.support.machine import Machine, machine
from tests.support.scripted import ScriptedRemote

pytestmark = pytest.mark.usefixtures("autojump_clock")


@pytest.fixture
def remote() -> ScriptedRemote:
    return ScriptedRemote(MemoryDrive(quota_bytes=50))


def set_quota(remote: ScriptedRemote, quota_bytes: int | None) -> None:
    remote.drive.quota_bytes = quota_bytes


def problem(one: Machine, kind: ChangeKind, node: int, fields: Fields) -> Record:
    """As if the portal had refused the change."""
    record = one.fs.outbox.append(Change(kind, node, None, fields), state=State.PROBLEM)
    return one.fs.outbox.update(replace(record, reason="no"))


def new_folder(one: Machine, name: str, parent: int = ROOT) -> Record:
    """One that the portal refused to make."""
    node = one.fs.nodes.make(Kind.FOLDER, parent, name)
    return problem(one, ChangeKind.MKDIR, node.number, Fields(parent=parent, name=name))


async def full(one: Machine, name: str = "/big", content: bytes = b"x" * 100) -> int:
    """A file that the drive has no room for; answers its change."""
    await one.write(name, content)
    await one.drained()
    return [found.id for found in one.fs.deciding.list()][-1]


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_a_problem_is_told_in_words_and_what_is_pending_too_on_demand(
    remote: ScriptedRemote, tmp_path: Path
) -> None:
    async with machine(remote, tmp_path) as one:
        number = await full(one)
        writer = await one.open("/later", os.O_CREAT | os.O_WRONLY)
        [found] = one.fs.deciding.list()
        assert (found.id, found.path, found.what, found.size_bytes) == (number, "big", "new file", 100)
        assert found.reason
        everything = list(one.fs.deciding.list(everything=True))
        assert [(other.path, other.state) for other in everything] == [("big", "problem"), ("later", "open")]
        await one.close(writer)


async def test_each_kind_of_change_has_its_words(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path, sending=False) as one:
        made = new_folder(one, "new")
        await one.write("/a", b"")
        file, folder = (await one.find("/a")).number, made.change.node
        here = Fields(old_parent=ROOT, old_name="a")
        problem(one, ChangeKind.DELETE, file, here)
        problem(one, ChangeKind.DELETE, folder, Fields(old_parent=ROOT, old_name="new", folder=True))
        problem(one, ChangeKind.MOVE, file, replace(here, parent=ROOT, name="b"))
        problem(one, ChangeKind.MOVE, file, replace(here, parent=folder, name="b"))
        problem(one, ChangeKind.MOVE, file, replace(here, parent=ROOT, name="b", over_node=folder, exchange=True))
        attributes = Attributes(mode=0o600, uid=1, mtime_ns=1, atime_ns=1, xattrs={"user.colour": b"red"})
        problem(one, ChangeKind.ATTRIBUTES, file, Fields(attributes=attributes))
        link = one.fs.nodes.make(Kind.SYMLINK, ROOT, "link")
        problem(
            one, ChangeKind.SYMLINK, link.number, Fields(parent=ROOT, name="link", attributes=Attributes(symlink="a"))
        )
        assert [(found.path, found.what) for found in one.fs.deciding.list()] == [
            ("new", "new folder"),
            ("a", "delete"),
            ("new", "delete the folder"),
            ("a", "rename to b"),
            ("a", "move to new/b"),
            ("a", "exchange with b"),
            ("a", "change of permissions, owner, times, user.colour"),
            ("link", "new link to a"),
        ]


# --- trying again -----------------------------------------------------------------------------------------------------


async def test_a_problem_that_is_tried_again_goes_with_its_key_as_if_for_the_first_time(
    remote: ScriptedRemote, tmp_path: Path
) -> None:
    async with machine(remote, tmp_path) as one:
        number = await full(one)
        set_quota(remote, None)
        [told] = one.fs.deciding.retry([number])
        assert (told.state, told.reason) == ("ready", None)
        record = one.fs.outbox.get(number)
        assert record is not None
        assert record.attempts == 0
        await one.drained()
        assert remote.stored == {"big": b"x" * 100}
        assert len({request.key for request in remote.requests}) == 1
        assert not list(one.fs.deciding.list())


async def test_what_is_refused_again_is_a_problem_again(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        number = await full(one)
        assert len(one.fs.deciding.retry(None)) == 1
        await one.drained()
        assert [found.id for found in one.fs.deciding.list()] == [number]


async def test_what_waited_for_a_problem_goes_after_it(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        made = new_folder(one, "new")
        await one.write("/new/letter", b"dear reader")
        await one.drained()
        assert remote.stored == {}
        one.fs.deciding.retry([made.id])
        await one.drained()
        assert remote.stored == {"letter": b"dear reader"}
        assert len(one.fs.outbox) == 0


@pytest.mark.parametrize("left", [None, b"x"])
async def test_content_that_is_damaged_is_not_sent(remote: ScriptedRemote, tmp_path: Path, left: bytes | None) -> None:
    async with machine(remote, tmp_path) as one:
        number = await full(one)
        path = one.fs.deciding.content(number).path
        path.unlink() if left is None else path.write_bytes(left)
        set_quota(remote, None)
        [told] = one.fs.deciding.retry(None)
        assert told.state == "problem"
        assert told.reason is not None
        assert ("gone" if left is None else "shorter") in told.reason
        await one.drained()
        assert remote.stored == {}


async def test_only_problems_are_tried_again(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path, sending=False) as one:
        await one.write("/a", b"a")
        [pending] = one.fs.outbox
        with pytest.raises(BitcasaError, match=r"\(a\) is no problem"):
            one.fs.deciding.retry([pending.id])
        with pytest.raises(BitcasaError, match="no change 999"):
            one.fs.deciding.retry([999])


# --- taking the content out -------------------------------------------------------------------------------------------


async def test_the_content_of_a_problem_is_where_it_is_told(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        found = one.fs.deciding.content(await full(one))
        assert found.path.read_bytes() == b"x" * 100
        assert (found.size_bytes, found.written) == (100, None)


async def test_of_content_with_holes_it_is_told_what_was_written(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/base", b"b" * 40)
        await one.drained()
    async with machine(remote, tmp_path, sending=False) as again:
        await again.names()
        await again.write("/base", b"new", offset=10, flags=0)
        await again.write("/base", b"end", offset=45, flags=0)
        record = again.fs.outbox.update(
            replace(next(iter(again.fs.outbox)), state=State.PROBLEM, reason="its base is gone")
        )
        found = again.fs.deciding.content(record.id)
        assert found.size_bytes == 48
        assert found.written == ((10, 13), (40, 48))


async def test_what_has_no_content_cannot_be_exported(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        with pytest.raises(BitcasaError, match=r"\(new folder\) has no content"):
            one.fs.deciding.content(new_folder(one, "new").id)
        number = await full(one)
        one.fs.deciding.content(number).path.unlink()
        with pytest.raises(BitcasaError, match="its staged file is gone"):
            one.fs.deciding.content(number)


# --- giving up --------------------------------------------------------------------------------------------------------


async def test_a_new_file_that_is_discarded_is_gone_with_its_content(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        number = await full(one)
        reader = await one.open("/big", os.O_RDONLY)
        path = one.fs.deciding.content(number).path
        assert [found.path for found in one.fs.deciding.plan([number])] == ["big"]
        assert [found.path for found in one.fs.deciding.discard([number])] == ["big"]
        assert (await one.names(), len(one.fs.outbox), path.exists()) == ([], 0, False)
        assert await one.fs.files.read(reader, 0, 200) == b"x" * 100  # who has it open keeps it
        await one.fs.files.release(reader)
        with pytest.raises(FileNotFoundError):
            await one.find("/big")


async def test_new_content_that_is_discarded_leaves_what_the_portal_has(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"old")
        await one.drained()
        number = await full(one, "/a")
        assert await one.read("/a") == b"x" * 100
        one.fs.deciding.discard([number])
        assert await one.read("/a") == b"old"
        assert (await one.find("/a")).size_bytes == 3
        assert len(one.fs.outbox) == 0


async def test_newer_content_of_a_new_file_stays_when_the_older_is_discarded(
    remote: ScriptedRemote, tmp_path: Path
) -> None:
    async with machine(remote, tmp_path) as one:
        number = await full(one)
        record = one.fs.outbox.get(number)
        assert record is not None
        newer = one.fs.nodes[record.change.node]
        one.fs.outbox.append(record.change, state=State.OPEN)
        assert len(one.fs.deciding.discard([number])) == 1
        assert [left.change.node for left in one.fs.outbox] == [newer.number]
        assert not newer.unlinked


async def test_content_whose_staged_file_is_gone_can_be_discarded(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"old")
        await one.drained()
        number = await full(one, "/a")
        one.fs.deciding.content(number).path.unlink()
        one.fs.deciding.discard([number])
        assert await one.read("/a") == b"old"
    async with machine(remote, tmp_path) as again:
        assert len(again.fs.outbox) == 0


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ChangeKind.DELETE, Fields(old_parent=ROOT, old_name="a")),
        (ChangeKind.MOVE, Fields(old_parent=ROOT, old_name="a", parent=ROOT, name="b")),
        (ChangeKind.ATTRIBUTES, Fields(attributes=Attributes(mode=0o600))),
    ],
)
async def test_a_change_of_names_or_attributes_that_is_discarded_shows_what_the_portal_has(
    remote: ScriptedRemote, tmp_path: Path, kind: ChangeKind, fields: Fields
) -> None:
    async with machine(remote, tmp_path, ttl_seconds=1000) as one, machine(remote, tmp_path / "other") as other:
        await one.write("/a", b"old")
        await one.drained()
        await one.names()
        record = problem(one, kind, (await one.find("/a")).number, fields)
        await other.write("/theirs", b"theirs")
        await other.drained()
        assert await one.names() == ["a"]
        one.fs.deciding.discard([record.id])
        assert await one.names() == ["a", "theirs"]  # listed anew, long before its time
        assert (await one.find("/a")).permissions == 0o644
        assert await one.read("/a") == b"old"


async def test_what_a_rename_was_to_replace_is_seen_again(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"a")
        await one.write("/b", b"b")
        await one.drained()
        a, b = (await one.find("/a")).number, (await one.find("/b")).number
        fields = Fields(old_parent=ROOT, old_name="a", parent=ROOT, name="b", over_node=b)
        one.fs.deciding.discard([problem(one, ChangeKind.MOVE, a, fields).id])
        assert await one.tree() == {"/a": b"a", "/b": b"b"}


async def test_a_new_folder_is_not_discarded_while_something_waits_to_be_put_into_it(
    remote: ScriptedRemote, tmp_path: Path
) -> None:
    async with machine(remote, tmp_path) as one:
        made = new_folder(one, "new")
        inner = new_folder(one, "inner", made.change.node)
        await one.write("/new/inner/letter", b"dear reader")
        with pytest.raises(BitcasaError, match="new/inner, new/inner/letter; --recursive"):
            one.fs.deciding.discard([made.id])
        with pytest.raises(BitcasaError, match="new/inner/letter"):
            one.fs.deciding.plan([made.id, inner.id])
        assert len(one.fs.outbox) == 3
        told = one.fs.deciding.plan([made.id], recursive=True)
        assert [found.path for found in told] == ["new", "new/inner", "new/inner/letter"]
        # Named one by one is as good; what came meanwhile would be refused again.
        assert one.fs.deciding.discard([found.id for found in told]) == told
        assert (await one.names(), len(one.fs.outbox)) == ([], 0)
        assert os.listdir(tmp_path / "staged") == []


async def test_what_was_to_move_into_a_folder_that_is_discarded_stays_where_it_is(
    remote: ScriptedRemote, tmp_path: Path
) -> None:
    async with machine(remote, tmp_path) as one:
        await one.write("/a", b"a")
        await one.drained()
        made = new_folder(one, "new")
        fields = Fields(old_parent=ROOT, old_name="a", parent=made.change.node, name="a")
        problem(one, ChangeKind.MOVE, (await one.find("/a")).number, fields)
        assert len(one.fs.deciding.discard([made.id], recursive=True)) == 2
        assert await one.tree() == {"/a": b"a"}


async def test_only_problems_are_discarded_and_all_or_none(remote: ScriptedRemote, tmp_path: Path) -> None:
    async with machine(remote, tmp_path) as one:
        number = await full(one)
        writer = await one.open("/later", os.O_CREAT | os.O_WRONLY)
        pending = one.fs.outbox.newest_id
        with pytest.raises(BitcasaError, match=r"\(later\) is no problem"):
            one.fs.deciding.discard([number, pending])
        with pytest.raises(BitcasaError, match="no change 999"):
            one.fs.deciding.discard([number, 999])
        assert one.fs.outbox.get(number) is not None
        await one.close(writer)
