"""The outbox: what it promised is there after a kill, and one process has it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitcasafs.errors import ConfigError, Locked, NoSpace
from bitcasafs.values.items import Kind, NodeId
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State
from bitcasafs.writing.known_node import KnownNode
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.schema import SCHEMA_VERSION, decode_fields, encode_fields, open_database, told_of_disk
from tests.support.changes import changes, fields

MKDIR = Change(ChangeKind.MKDIR, 2, None, Fields(parent=1, name="folder"))


def reopened(folder: Path) -> list[Record]:
    outbox = Outbox(folder, "boot")
    try:
        return list(outbox)
    finally:
        outbox.close()


@given(st.lists(changes, min_size=1, max_size=5), st.sampled_from(State), st.none() | st.text(min_size=1, max_size=20))
@settings(max_examples=40)
def test_every_change_is_read_back_as_it_was_written(found: list[Change], state: State, reason: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder), "boot")
        for change in found:
            record = outbox.append(change, state=state, staged="00000001 name")
            outbox.update(replace(record, reason=reason, attempts=3, synced=True, generation=2))
        written = list(outbox)
        outbox.close()
        assert [record.change for record in written] == found
        after_a_kill = {State.SENDING: State.READY}.get(state, state)
        unsure = state is State.SENDING
        assert reopened(Path(folder)) == [
            replace(record, state=after_a_kill, unsure=unsure) for record in written
        ]  # fmt: skip


@given(fields)
def test_fields_survive_their_json(value: Fields) -> None:
    assert decode_fields(encode_fields(value)) == value


def test_fields_that_say_nothing_take_no_room() -> None:
    assert encode_fields(Fields()) == "{}"


KILLED = """
import os, signal, sys
from pathlib import Path
from bitcasafs.writing.change import Change, ChangeKind, Fields, State
from bitcasafs.writing.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), "boot")
for number in range(3):
    outbox.append(Change(ChangeKind.MKDIR, number + 2, None, Fields(parent=1, name=f"folder {number}")))
first, second, third = outbox
outbox.remove(first.id)
outbox.update(second.moved(State.SENDING, attempts=1))
with outbox.together():
    outbox.append(third.change)
    print(second.key, third.key, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_committed_is_there_after_kill_9_and_half_a_step_is_not(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    outbox = Outbox(tmp_path, "boot")
    assert [record.change.fields.name for record in outbox] == ["folder 1", "folder 2"]
    assert " ".join(record.key for record in outbox) == done.stdout.strip()
    # What was on its way may be on the portal: it goes again as it is.
    assert [(record.state, record.unsure, record.attempts) for record in outbox] == [
        (State.READY, True, 1),
        (State.READY, False, 0),
    ]
    assert outbox.append(MKDIR).id > 3
    outbox.close()


HOLDER = """
import sys
from pathlib import Path
from bitcasafs.writing.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), "boot")
print("ready", flush=True)
sys.stdin.read()
"""


def test_another_process_has_it_and_is_named_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(Locked, match=rf"\b{holder.pid}\b"):
            Outbox(tmp_path, "boot")
        holder.kill()
        holder.wait()
    Outbox(tmp_path, "boot").close()


def test_the_same_process_cannot_open_it_twice(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    with pytest.raises(Locked, match=rf"\b{os.getpid()}\b"):
        Outbox(tmp_path, "boot")
    outbox.close()
    outbox.close()
    Outbox(tmp_path, "boot").close()


def damaged(path: Path, statement: str) -> None:
    connection = open_database(path)
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "newer"),
        ("UPDATE changes SET kind = 'teleport'", "understood"),
        ("UPDATE changes SET fields = '{\"antigravity\": 1}'", "understood"),
        ("UPDATE changes SET fields = 'no json'", "understood"),
        ("DROP TABLE changes", "understood"),
    ],
)
def test_an_outbox_of_a_newer_release_or_a_damaged_one_is_refused_and_given_back(
    tmp_path: Path, statement: str, why: str
) -> None:
    outbox = Outbox(tmp_path, "boot")
    outbox.append(MKDIR)
    outbox.close()
    before = len(os.listdir("/proc/self/fd"))
    damaged(tmp_path / "outbox.sqlite3", statement)
    with pytest.raises(ConfigError, match=why):
        Outbox(tmp_path, "boot")
    with pytest.raises(ConfigError, match=why):  # not Locked: the first try gave the lock back
        Outbox(tmp_path, "boot")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite3").write_bytes(b"a letter to somebody" * 100)
    with pytest.raises(ConfigError, match="cannot be read"):
        Outbox(tmp_path, "boot")


def test_every_change_and_every_seal_has_a_key_of_its_own(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    records = [outbox.append(MKDIR) for _ in range(50)]
    opened = outbox.append(Change(ChangeKind.CONTENT, 5, None, Fields()), state=State.OPEN, staged="f")
    sealed = outbox.seal(opened, opened.change)
    keys = {record.key for record in (*records, opened, sealed)}
    assert len(keys) == 52
    assert all(16 <= len(key) <= 64 for key in keys)
    assert (sealed.state, sealed.generation) == (State.READY, 1)
    outbox.close()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    outbox = Outbox(folder, "boot")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "lock").stat().st_mode & 0o777 == 0o600
    outbox.close()


def test_a_step_that_fails_has_not_happened_neither_here_nor_on_the_disk(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    first, second = outbox.append(MKDIR), outbox.append(replace(MKDIR, node=3))
    told: list[int] = []
    outbox.watch(lambda: told.append(len(outbox)))
    with pytest.raises(ZeroDivisionError), outbox.together():
        outbox.remove(first.id)
        outbox.update(replace(second, attempts=9))
        outbox.append(replace(MKDIR, node=4))
        raise ZeroDivisionError
    assert [(record.id, record.attempts) for record in outbox.of_node(2) + outbox.of_node(3)] == [
        (first.id, 0),
        (second.id, 0),
    ]
    assert outbox.of_node(4) == []
    assert set(told) == {2}
    outbox.close()
    assert {record.id: record for record in reopened(tmp_path)} == {first.id: first, second.id: second}


def test_a_full_disk_under_the_database_is_no_space() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE rows (data)")
    connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(NoSpace), told_of_disk():
        connection.execute("INSERT INTO rows VALUES (zeroblob(100000))")
    connection.close()


def test_watchers_are_told_after_each_change_and_those_for_once_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    always: list[int] = []
    once: list[int] = []
    outbox.watch(lambda: always.append(len(outbox)))
    outbox.watch_once(lambda: once.append(len(outbox)))
    record = outbox.append(MKDIR)
    outbox.update(replace(record, attempts=1))
    outbox.remove(record.id)
    assert (always, once) == ([1, 1, 0], [1])
    outbox.close()


def test_the_log_is_folded_into_the_database_and_nothing_is_lost_by_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    for number in range(200):
        outbox.append(replace(MKDIR, node=number))
    assert outbox.log_bytes > 100_000
    outbox.checkpoint()
    assert outbox.log_bytes == 0
    outbox.append(MKDIR)
    outbox.sync()
    written = list(outbox)
    outbox.close()
    assert reopened(tmp_path) == written


LOOKING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(*connection.execute("SELECT count(*) FROM changes"))
connection.close()
"""


def test_somebody_who_looks_into_it_takes_nothing_away(tmp_path: Path) -> None:
    """SQLite deletes the log when it believes to be the last user: its locks must outlive a sync."""
    outbox = Outbox(tmp_path, "boot")
    for number in (1, 2):
        outbox.append(MKDIR)
        outbox.sync()
        command = [sys.executable, "-c", LOOKING, str(tmp_path / "outbox.sqlite3")]
        looked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert looked.stdout == f"({number},)\n"
        assert outbox.log_bytes > 0
    outbox.close()


# --- nodes ------------------------------------------------------------------------------------------------------------


def node(number: int, parent: int | None, kind: Kind = Kind.FOLDER, path: str | None = None) -> KnownNode:
    return KnownNode(number, NodeId(f"id-{number}"), parent, f"name {number}", path, kind)


def test_nodes_are_remembered_as_they_were_last_seen(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    outbox.remember(node(2, 1))
    outbox.remember(node(2, 1))
    outbox.remember(node(2, 1, path="/somewhere"))
    outbox.remember(node(3, 2, Kind.FILE))
    outbox.remember(node(2, 3, path="/elsewhere"))
    outbox.close()
    outbox = Outbox(tmp_path, "boot")
    assert outbox.known_nodes() == [node(2, 3, path="/elsewhere"), node(3, 2, Kind.FILE)]
    outbox.close()


def test_nodes_that_no_change_leads_to_are_forgotten_but_their_numbers_are_not_used_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    for one in (node(1, None), node(2, 1), node(3, 2), node(4, 3, Kind.FILE), node(5, 1), node(6, 1), node(9, 5)):
        outbox.remember(one)
    outbox.append(Change(ChangeKind.MOVE, 4, None, Fields(old_parent=3, old_name="f", parent=6, name="f")))
    outbox.forget_nodes()
    assert [one.number for one in outbox.known_nodes()] == [1, 2, 3, 4, 6, 9]
    outbox.remember(node(5, 1))  # it was remembered before, and is again
    assert 5 in [one.number for one in outbox.known_nodes()]
    outbox.close()
