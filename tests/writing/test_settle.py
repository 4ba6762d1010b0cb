"""What waits for a further seal, and for how long; and that ten quick saves are two uploads."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bitcasafs.writing.settle import Waiting, settles
from tests.support.changes import record
from tests.support.machine import machine
from tests.support.scripted import ScriptedRemote

ROOT = 1


@pytest.mark.parametrize(
    "name",
    [".letter.odt.swp", "letter.odt~", "#letter#", "4913", "sedAb3dEf", ".data.tar.Ab3dEf", "film.mkv.part", "x.TMP"],
)
def test_a_new_file_under_a_passing_name_settles(name: str) -> None:
    assert settles(record(1, "content", 10, at=(ROOT, name)), sent_lately=False)
    assert settles(record(1, "move", 10, of=(ROOT, "letter.odt"), at=(ROOT, name)), sent_lately=False)


@pytest.mark.parametrize("name", ["letter.odt", "49135", "temporary", "sed", "party", "a~b"])
def test_another_goes_at_once_unless_it_was_sent_lately(name: str) -> None:
    assert not settles(record(1, "content", 10, at=(ROOT, name)), sent_lately=False)
    assert not settles(record(1, "move", 10, of=(ROOT, "x"), at=(ROOT, name)), sent_lately=False)
    assert settles(record(1, "content", 10), sent_lately=True)


def test_changes_of_names_do_not_settle_though_the_file_was_sent_lately() -> None:
    assert not settles(record(1, "delete", 10, of=(ROOT, "a")), sent_lately=True)
    assert not settles(record(1, "attributes", 10), sent_lately=True)


def test_a_file_that_is_saved_without_end_is_sent_after_ten_settle_times() -> None:
    waiting = Waiting(generation=1, first=0.0, latest=0.0)
    assert waiting.due(1.0) == 1.0
    for generation in range(2, 50):
        waiting = waiting.seen(generation, generation * 0.5)
    assert waiting.due(1.0) == 10.0


async def test_ten_quick_saves_are_at_most_two_uploads(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        for number in range(10):
            await one.write("/letter", f"save {number}".encode())
            await trio.sleep(0.09)
        await trio.sleep(10)
        assert remote.stored == {"letter": b"save 9"}
        assert len([request for request in remote.requests if request.what == "store"]) <= 2


async def test_a_save_by_rename_and_one_that_moves_the_old_file_aside_keep_the_node(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/letter", b"first")
        await one.drained()
        (node,) = remote.drive.files
        await one.write("/.letter.Ab3dEf", b"second")
        await trio.sleep(0.2)
        await one.rename("/.letter.Ab3dEf", "/letter")
        await one.drained()
        assert [(one.id, one.name) for one in remote.drive.files] == [(node.id, "letter")]
        assert remote.stored == {"letter": b"second"}
        await one.rename("/letter", "/letter~")  # as vim does
        await one.write("/letter", b"third")
        await one.unlink("/letter~")
        await one.drained()
        assert [(one.id, one.name) for one in remote.drive.files] == [(node.id, "letter")]
        assert remote.stored == {"letter": b"third"}
        assert await one.tree() == {"/letter": b"third"}


async def test_what_is_made_and_removed_before_it_was_sent_is_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.write("/.tmp", b"passing")
        await one.unlink("/.tmp")
        await one.drained()
        await trio.sleep(10)
        assert remote.requests == []
        assert list((tmp_path / "staged").iterdir()) == []


async def test_a_renamed_folder_of_many_pending_files_is_one_move_and_the_files_under_its_new_name(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        await one.mkdir("/d")
        await one.drained()
    async with machine(remote, tmp_path, sending=False) as one:
        for number in range(500):
            await one.write(f"/d/{number}", str(number).encode())
        await one.rename("/d", "/e")
        assert len(await one.names("/e")) == 500
    remote.requests.clear()
    async with machine(remote, tmp_path) as one:
        await one.drained()
        assert len(await one.names("/e")) == 500
        moves = [request for request in remote.requests if request.what == "Move"]
        assert len(moves) == 1
        assert len([request for request in remote.requests if request.what == "store"]) == 500
        assert {node.path.split("/")[2] for node in remote.drive.files} == {"e"}
