"""The outbox's format: what an earlier release wrote is read, whole, and what cannot be read says what to do."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bitcasafs.errors import ConfigError
from bitcasafs.values.items import Attributes, Kind, Version
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State
from bitcasafs.writing.known_node import KnownNode
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.schema import SCHEMA_VERSION, STEPS, open_database

# As release 1 made it. Never to be changed: it stands for what lies on users' disks.
VERSION_1 = """
PRAGMA journal_mode=WAL;
CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    node INTEGER NOT NULL,
    kind TEXT NOT NULL,
    base TEXT,
    generation INTEGER NOT NULL,
    fields TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    attempts INTEGER NOT NULL,
    key TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    synced INTEGER NOT NULL,
    staged TEXT,
    unsure INTEGER NOT NULL
) STRICT;
CREATE TABLE nodes (
    number INTEGER PRIMARY KEY,
    node TEXT UNIQUE,
    parent INTEGER,
    name TEXT NOT NULL,
    path TEXT,
    kind TEXT NOT NULL
) STRICT;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO changes VALUES (4, 7, 'content', 'v1', 2,
    '{"size_bytes":9,"base_id":"id-7","base_bytes":9,"base_limit":9,"written":[[0,4]],"attributes":{"mtime_ns":5}}',
    'sending', NULL, 3, 'key-4', 'boot one', 1, '00000004 a', 0);
INSERT INTO changes VALUES (6, 8, 'mkdir', NULL, 0, '{"parent":1,"name":"d"}',
    'problem', 'no', 1, 'key-6', 'boot one', 0, NULL, 0);
INSERT INTO nodes VALUES (1, NULL, NULL, '', '/', 'folder');
INSERT INTO nodes VALUES (7, 'n7', 1, 'a', '/a', 'file');
INSERT INTO facts VALUES ('account', 'me@portal');
PRAGMA user_version=1;
"""

EXPECTED = [
    Record(
        id=4,
        change=Change(
            ChangeKind.CONTENT,
            7,
            Version("v1"),
            Fields(
                size_bytes=9,
                base_id="id-7",
                base_bytes=9,
                base_limit=9,
                written=((0, 4),),
                attributes=Attributes(mtime_ns=5),
            ),
        ),
        state=State.READY,
        generation=2,
        key="key-4",  # type: ignore[arg-type]
        boot_id="boot one",
        synced=True,
        staged="00000004 a",
        attempts=3,
        unsure=True,
        made_ns=0,
    ),
    Record(
        id=6,
        change=Change(ChangeKind.MKDIR, 8, None, Fields(parent=1, name="d")),
        state=State.PROBLEM,
        generation=0,
        key="key-6",  # type: ignore[arg-type]
        boot_id="boot one",
        synced=False,
        staged=None,
        attempts=1,
        reason="no",
        made_ns=0,
    ),
]
MKDIR = Change(ChangeKind.MKDIR, 2, None, Fields(parent=1, name="folder"))


def of_release_1(folder: Path) -> Path:
    path = folder / "outbox.sqlite3"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(VERSION_1)
    connection.close()
    return path


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return found
    finally:
        connection.close()


def columns(path: Path) -> list[tuple[object, ...]]:
    connection = open_database(path)
    try:
        return [
            (table, *row)
            for table in ("changes", "nodes", "facts")
            for row in connection.execute(f"PRAGMA table_info({table})")
        ]
    finally:
        connection.close()


# --- between releases -------------------------------------------------------------------------------------------------


def test_an_outbox_of_the_first_release_is_read_whole_and_written_on(tmp_path: Path) -> None:
    path = of_release_1(tmp_path)
    outbox = Outbox(tmp_path, "boot two", lambda: 1234)
    assert list(outbox) == EXPECTED
    assert outbox.known_nodes() == [
        KnownNode(1, None, None, "", "/", Kind.FOLDER),
        KnownNode(7, "n7", 1, "a", "/a", Kind.FILE),  # type: ignore[arg-type]
    ]
    assert outbox.append(MKDIR).id == 7
    outbox.close()
    assert version(path) == SCHEMA_VERSION
    again = Outbox(tmp_path, "boot two")
    assert [record.made_ns for record in again] == [0, 0, 1234]
    again.close()


def test_an_outbox_that_was_brought_up_to_date_is_like_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    assert columns(of_release_1(tmp_path / "old")) == columns(tmp_path / "new" / "outbox.sqlite3")


def test_a_step_that_fails_leaves_the_version_before_it_whole(tmp_path: Path) -> None:
    path = of_release_1(tmp_path)
    broken = (*STEPS, "ALTER TABLE changes ADD COLUMN more TEXT; DELETE FROM changes; ALTER TABLE nothing RENAME TO x;")
    with pytest.raises(ConfigError, match="nothing"):
        open_database(path, broken)
    assert version(path) == len(STEPS) + 1
    outbox = Outbox(tmp_path, "boot two")
    assert list(outbox) == EXPECTED
    outbox.close()


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from bitcasafs.writing import schema
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
for statement in schema.STEPS[0].split(";"):
    connection.execute(statement)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_the_middle_of_a_step_is_as_if_it_had_not_begun(tmp_path: Path) -> None:
    path = of_release_1(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert version(path) == 1
    outbox = Outbox(tmp_path, "boot two")
    assert list(outbox) == EXPECTED
    outbox.close()


# --- when a change was made -------------------------------------------------------------------------------------------


def test_when_a_change_was_made_outlives_seals_and_the_oldest_is_told(tmp_path: Path) -> None:
    times = iter([1000, 2000, 3000])
    outbox = Outbox(tmp_path, "boot", lambda: next(times))
    assert outbox.statistics().oldest_ns is None
    content = outbox.append(Change(ChangeKind.CONTENT, 3, None, Fields()), state=State.OPEN, staged="f")
    outbox.append(MKDIR)
    last = outbox.append(MKDIR)
    sealed = outbox.seal(content, content.change)
    assert sealed.made_ns == 1000
    assert outbox.statistics().oldest_ns == 1000
    outbox.update(replace(sealed, state=State.PROBLEM))
    assert outbox.statistics().oldest_ns == 2000
    outbox.close()
    outbox = Outbox(tmp_path, "boot")
    assert [record.made_ns for record in outbox] == [1000, 2000, 3000]
    outbox.remove(2)
    assert outbox.statistics().oldest_ns == 3000
    outbox.remove(last.id)
    assert outbox.statistics().oldest_ns is None
    outbox.close()


# --- what cannot be used ----------------------------------------------------------------------------------------------


def full(folder: Path, records: int = 300) -> list[Record]:
    outbox = Outbox(folder, "boot")
    with outbox.together():
        for number in range(2, records + 2):
            outbox.append(replace(MKDIR, node=number, fields=Fields(parent=1, name=f"folder {number}" * 5)))
            outbox.remember(KnownNode(number, None, 1, f"folder {number}", None, Kind.FOLDER))
    written = list(outbox)
    outbox.close()
    return written


@pytest.mark.parametrize("place", range(8))
def test_garbage_in_the_database_is_told_with_what_to_do_and_is_never_half_an_outbox(
    tmp_path: Path, place: int
) -> None:
    written = full(tmp_path)
    path = tmp_path / "outbox.sqlite3"
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        file.seek(pages * place // 8 * 4096 + (100 if place == 0 else 0))
        file.write(b"garbage!" * 400)
    with pytest.raises(ConfigError, match=r"outbox.sqlite3 cannot be (read|understood): .*move it away"):
        outbox = Outbox(tmp_path, "boot")
        try:
            outbox.known_nodes()
            assert list(outbox) == written
        finally:
            outbox.close()


def test_a_node_that_cannot_be_understood_is_told(tmp_path: Path) -> None:
    full(tmp_path, 2)
    connection = open_database(tmp_path / "outbox.sqlite3")
    connection.execute("UPDATE nodes SET kind = 'teleporter'")
    connection.close()
    outbox = Outbox(tmp_path, "boot")
    with pytest.raises(ConfigError, match="cannot be understood"):
        outbox.known_nodes()
    outbox.close()


@pytest.mark.parametrize("what", ["folder", "lock", "outbox.sqlite3"])
def test_a_place_that_cannot_be_used_is_told(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "state"
    if what == "folder":
        folder.write_bytes(b"no folder")
    else:
        (folder / what).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match="owner and permissions"):
        Outbox(folder, "boot")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("log", ["copied before", "missing", "garbage", "half"])
def test_a_folder_that_was_copied_while_it_was_used_opens_with_what_was_folded_in(tmp_path: Path, log: str) -> None:
    used, copied = tmp_path / "used", tmp_path / "copied"
    written = full(used, 100)
    outbox = Outbox(used, "boot")
    copied.mkdir()
    for number in range(50):
        outbox.append(replace(MKDIR, node=number + 200))
    if log == "copied before":
        shutil.copy(used / "outbox.sqlite3-wal", copied)
        outbox.checkpoint()
        outbox.append(MKDIR)
    shutil.copy(used / "outbox.sqlite3", copied)
    shutil.copy(used / "lock", copied)
    if log in ("garbage", "half"):
        data = (used / "outbox.sqlite3-wal").read_bytes()
        data = data[: len(data) // 2 + 100] if log == "half" else b"garbage!" * (len(data) // 8)
        (copied / "outbox.sqlite3-wal").write_bytes(data)
    outbox.close()
    again = Outbox(copied, "boot")
    assert list(again)[:100] == written
    again.append(MKDIR)
    again.close()
