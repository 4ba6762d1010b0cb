"""The outbox on disk: one SQLite database. The format is the promise; every column states its meaning.

WAL with synchronous=NORMAL: a commit on the loop costs 9 us and survives kill -9; a power cut is what `Outbox.sync`
is for (it fsyncs the WAL in a thread). No automatic checkpoint: one would fsync on the loop.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bitcasafs.errors import BitcasaError, ConfigError, NoSpace
from bitcasafs.values.items import Attributes, IdempotencyKey, Version
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State

SCHEMA_VERSION = 2

TABLES = """
CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of the changes; never used twice
    node INTEGER NOT NULL,                 -- number of the node that is changed
    kind TEXT NOT NULL,                    -- ChangeKind
    base TEXT,                             -- version (of a folder: revision) it was made from; NULL: none or not known
    generation INTEGER NOT NULL,           -- how many times the content was sealed; 0: never
    fields TEXT NOT NULL,                  -- JSON of change.Fields, only what is set
    state TEXT NOT NULL,                   -- State; 'sending' found at start means that the mount was killed
    reason TEXT,                           -- of a problem, for a person; NULL otherwise
    attempts INTEGER NOT NULL,             -- how often it was sent
    key TEXT NOT NULL,                     -- idempotency key: 128 random bits, the same over every repeat; no index,
                                           -- which would cost a page of the log (4 KiB) for each row and each seal
    boot_id TEXT NOT NULL,                 -- boot in which content was last written: another one may mean a power cut
    synced INTEGER NOT NULL,               -- 1: the staged file was fsynced since it was last sealed, and nothing of it
                                           -- was cut off since
    staged TEXT,                           -- file name in the staging folder; NULL: the change has no content
    unsure INTEGER NOT NULL,               -- 1: it was sent and no answer came: it may be on the portal
    made_ns INTEGER NOT NULL DEFAULT 0     -- when the change was first made, ns since the epoch; 0: not known
) STRICT;
CREATE TABLE nodes (
    number INTEGER PRIMARY KEY,            -- st_ino; 1 is the root; never given to another node
    node TEXT UNIQUE,                      -- identity on the portal; NULL: not there yet, or a historical portal
    parent INTEGER,                        -- number of the folder it was last seen in; NULL: the root
    name TEXT NOT NULL,                    -- name it was last seen under
    path TEXT,                             -- path on the portal when last seen; NULL: not there yet
    kind TEXT NOT NULL                     -- Kind
) STRICT;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;  -- 'boot' of its last use, 'since' when
"""

STEPS: tuple[str, ...] = ("ALTER TABLE changes ADD COLUMN made_ns INTEGER NOT NULL DEFAULT 0;",)
"""`STEPS[n - 1]` leads from version n to n + 1: a transaction each, so that a kill leaves one version or the next."""


def open_database(path: Path, steps: Sequence[str] = STEPS) -> sqlite3.Connection:
    """Open or make the database; one of an older release is brought to this one's format. ConfigError: it is of a newer
    release, not ours, damaged, or this user may not use it; the text says what to do.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise unusable(path, "opened", error) from None
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        _bring_up_to_date(connection, path, steps)
        wrong = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if wrong != "ok":
            raise unusable(path, "read", f"it is damaged ({wrong.splitlines()[-1]})")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unusable(path, "read", error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: sqlite3.Connection, path: Path, steps: Sequence[str]) -> None:
    newest = len(steps) + 1
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > newest:
        raise ConfigError(f"{path} was written by a newer BitcasaFS (format {found}); use that one")
    if found == 0:
        connection.executescript(f"BEGIN;{TABLES}PRAGMA user_version={newest};COMMIT;")
        return
    for version, step in enumerate(steps[found - 1 :], found + 1):
        connection.executescript(f"BEGIN IMMEDIATE;{step}PRAGMA user_version={version};COMMIT;")


def unusable(path: Path, what: str, why: object) -> ConfigError:
    """An outbox that must not be guessed at."""
    folder = path.parent
    return ConfigError(
        f"{path} cannot be {what}: {why}. It lists what was not sent yet. Look at its owner and permissions, and at "
        f"the disk; if they are in order, restore {folder}, or move it away to begin anew: what was not sent is in the "
        "folder staged in it"
    )


def note_use(connection: sqlite3.Connection, boot_id: str, now_ns: int) -> tuple[int, int]:
    """Note that the outbox is used from now on, in this boot. Answers up to which number all is known that was ever
    given to a change (in the boot of the last use: any; else the highest, as a power cut may have taken the end of the
    log), and since when this database is used (ns since the epoch): what is older belonged to another.
    """
    facts = dict(connection.execute("SELECT name, value FROM facts WHERE name IN ('boot', 'since')").fetchall())
    highest = connection.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()[0] or 0
    since = str(facts.get("since", now_ns))
    with told_of_disk():
        connection.executemany(
            "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", [("boot", boot_id), ("since", since)]
        )
    return 1 << 62 if facts.get("boot") == boot_id else int(highest), int(since)


@contextlib.contextmanager
def told_of_disk() -> Iterator[None]:
    """Turn what SQLite says of this machine's disk into NoSpace, or a BitcasaError for any other trouble with it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise NoSpace("the disk of the outbox is full") from None
        raise BitcasaError(f"the outbox cannot be written: {error}") from error


def read_records(connection: sqlite3.Connection, path: Path) -> list[Record]:
    """All changes, oldest first. ConfigError: a row is not as this release writes them."""
    try:
        return [decode_record(row) for row in connection.execute(SELECT)]
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        raise unusable(path, "understood", error) from error


_DEFAULTS = [(field.name, getattr(Fields(), field.name)) for field in fields(Fields)]
_PLAIN_ATTRIBUTES = [field.name for field in fields(Attributes) if field.name != "xattrs"]


def encode_fields(value: Fields) -> str:
    """Only what differs from the default, so that a row stays small and a new field needs no migration."""
    kept = {name: item for name, default in _DEFAULTS if (item := getattr(value, name)) != default}
    if "attributes" in kept:
        kept["attributes"] = attributes_to_json(value.attributes)
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def decode_fields(text: str) -> Fields:
    found = json.loads(text)
    if "attributes" in found:
        found["attributes"] = attributes_from_json(found["attributes"])
    if "dropped" in found:
        found["dropped"] = tuple(found["dropped"])
    if "written" in found:
        found["written"] = tuple((start, stop) for start, stop in found["written"])
    if "replacing" in found:
        found["replacing"] = tuple(found["replacing"])
    return Fields(**found)


def attributes_to_json(value: Attributes) -> dict[str, Any]:
    """What is not None; values of extended attributes in hex."""
    found = {name: item for name in _PLAIN_ATTRIBUTES if (item := getattr(value, name)) is not None}
    if value.xattrs:
        found["xattrs"] = {name: data.hex() for name, data in value.xattrs.items()}
    return found


def attributes_from_json(found: dict[str, Any]) -> Attributes:
    if "xattrs" in found:
        found = {**found, "xattrs": {name: bytes.fromhex(data) for name, data in found["xattrs"].items()}}
    return Attributes(**found)


SELECT = """
SELECT id, node, kind, base, generation, fields, state, reason, attempts, key, boot_id, synced, staged,
    unsure, made_ns
FROM changes ORDER BY id
"""
INSERT = """
INSERT INTO changes (
    node, kind, base, generation, fields, state, reason, attempts, key, boot_id, synced, staged, unsure, made_ns
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
UPDATE = """
UPDATE changes SET (
    node, kind, base, generation, fields, state, reason, attempts, key, boot_id, synced, staged, unsure, made_ns
) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?
"""


def encode_record(record: Record) -> tuple[Any, ...]:
    """In the order of SELECT."""
    change = record.change
    return (
        record.id,
        change.node,
        change.kind.value,
        change.base,
        record.generation,
        encode_fields(change.fields),
        record.state.value,
        record.reason,
        record.attempts,
        record.key,
        record.boot_id,
        int(record.synced),
        record.staged,
        int(record.unsure),
        record.made_ns,
    )


def decode_record(row: tuple[Any, ...]) -> Record:
    number, node, kind, base, generation, text, state, reason, attempts, key, boot_id, synced, staged, *rest = row
    unsure, made_ns = rest
    change = Change(ChangeKind(kind), node, Version(base) if base is not None else None, decode_fields(text))
    return Record(
        id=number,
        change=change,
        state=State(state),
        generation=generation,
        key=IdempotencyKey(key),
        boot_id=boot_id,
        synced=bool(synced),
        staged=staged,
        attempts=attempts,
        reason=reason,
        unsure=bool(unsure),
        made_ns=made_ns,
    )
