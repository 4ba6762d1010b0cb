"""What this machine remembers of nodes from mount to mount: their numbers, and what the portal cannot keep of them.

A number is a node's for life, whatever the kernel or an application saved of it (st_ino in a backup's index, a file
handle). A historical portal keeps no modes, owners, times, links and extended attributes; they are kept here, by
number, for this machine alone.

One SQLite database beside the outbox. It is opened by the process that holds the outbox's lock. Commits cost 9 us on
the loop and survive kill -9; the log is folded in when the ledger is opened and closed. A damaged ledger is set aside
and begun anew: numbers change then, and nothing else that the portal has is lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bitcasafs.dialects.items import decode_item, encode_item
from bitcasafs.errors import BitcasaError
from bitcasafs.values.items import Attributes, Item, Kind
from bitcasafs.writing.change import Number
from bitcasafs.writing.laying import NONE
from bitcasafs.writing.schema import attributes_from_json, attributes_to_json, told_of_disk

log = logging.getLogger(__name__)

TABLES = """
CREATE TABLE IF NOT EXISTS numbers (
    key TEXT PRIMARY KEY,           -- identity on the portal; on a historical one: number of the folder, '/', name
    number INTEGER NOT NULL UNIQUE  -- st_ino; never given to another node
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY,
    attributes TEXT NOT NULL        -- JSON of values.items.Attributes, what is not null
) STRICT;
CREATE TABLE IF NOT EXISTS listings (
    folder INTEGER PRIMARY KEY,     -- number of a folder
    rows BLOB NOT NULL              -- what the portal listed last: JSON of dialects.items, compressed by zlib
) STRICT;
CREATE TABLE IF NOT EXISTS highest (number INTEGER NOT NULL) STRICT;  -- one row: numbers up to it were given away
"""
_AT_ONCE = 500
MOST_KEPT_ROWS = 5000
"""Encoding so many takes 50 ms."""


class Ledger:
    def __init__(self, path: Path) -> None:
        """Open or make the ledger. NoSpace."""
        try:
            self._database = _open(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            aside = path.with_name(path.name + ".damaged")
            log.error("%s is damaged (%s); it is set aside as %s", path, error, aside.name)
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._database = _open(path)
        rows = self._database.execute("SELECT number, attributes FROM kept")
        self._kept = {number: attributes_from_json(json.loads(text)) for number, text in rows}
        self._listed = {folder for (folder,) in self._database.execute("SELECT folder FROM listings")}
        found = self._database.execute("SELECT max(number) FROM highest").fetchone()[0]
        self.highest: Number = found or 0
        """No number above it was ever given to a node that was bound."""

    # --- numbers ---

    def numbers(self, keys: Iterable[str]) -> dict[str, Number]:
        """The numbers of those keys that have one."""
        wanted = list(keys)
        found: dict[str, Number] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            statement = f"SELECT key, number FROM numbers WHERE key IN ({marks})"  # noqa: S608 - marks only
            found.update(self._database.execute(statement, some).fetchall())
        return found

    def bind(self, pairs: Iterable[tuple[str, Number]]) -> None:
        """Each key leads to its number from here on; what the key or the number led to before is forgotten."""
        listed = list(pairs)
        if not listed:
            return
        highest = max(number for _, number in listed)
        with told_of_disk(), self.together():
            self._database.executemany("DELETE FROM numbers WHERE number = ?", [(number,) for _, number in listed])
            self._database.executemany("INSERT OR REPLACE INTO numbers (key, number) VALUES (?, ?)", listed)
            if highest > self.highest:
                self._database.execute("DELETE FROM highest")
                self._database.execute("INSERT INTO highest (number) VALUES (?)", (highest,))
        self.highest = max(self.highest, highest)

    def release(self, number: Number) -> None:
        """The node is gone, and so is what was kept of it."""
        with told_of_disk(), self.together():
            self._database.execute("DELETE FROM numbers WHERE number = ?", (number,))
            if self._kept.pop(number, None) is not None:
                self._database.execute("DELETE FROM kept WHERE number = ?", (number,))

    # --- listings, for a mount that starts without its portal ---

    def keep_listing(self, folder: Number, items: Sequence[Item]) -> None:
        """Replace what is kept of a folder's listing. Very long ones are not kept: they would hold the loop."""
        if len(items) > MOST_KEPT_ROWS:
            return self.drop_listing(folder)
        listed = [encode_item(item, extensions=item.node is not None) for item in items]
        data = zlib.compress(json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode(), 1)
        with told_of_disk():
            self._database.execute("INSERT OR REPLACE INTO listings (folder, rows) VALUES (?, ?)", (folder, data))
        self._listed.add(folder)
        return None

    def drop_listing(self, folder: Number) -> None:
        """It is not true any more."""
        if folder in self._listed:
            with told_of_disk():
                self._database.execute("DELETE FROM listings WHERE folder = ?", (folder,))
            self._listed.discard(folder)

    def kept_listing(self, folder: Number) -> list[Item] | None:
        """What is kept, or None."""
        if folder not in self._listed:
            return None
        row = self._database.execute("SELECT rows FROM listings WHERE folder = ?", (folder,)).fetchone()
        try:
            return None if row is None else [decode_item(one) for one in json.loads(zlib.decompress(row[0]))]
        except (BitcasaError, ValueError, zlib.error) as error:
            log.warning("a kept listing cannot be read: %s", error)
            return None

    # --- what the portal cannot keep ---

    def kept(self, number: Number) -> Attributes:
        return self._kept.get(number, NONE)

    def keep(self, number: Number, attributes: Attributes) -> None:
        """Replace what is kept of the node."""
        if not self._kept:
            log.info(
                "this portal keeps no modes, owners, times, links or extended attributes: they stay on this machine"
            )
        text = json.dumps(attributes_to_json(attributes), ensure_ascii=False)
        with told_of_disk():
            self._database.execute("INSERT OR REPLACE INTO kept (number, attributes) VALUES (?, ?)", (number, text))
        self._kept[number] = attributes

    def kind(self, number: Number, listed: Kind, size_bytes: int) -> Kind:
        """What a node is: a link that was made here stands on a historical portal as an empty file."""
        kept = self._kept.get(number)
        if kept is not None and kept.symlink is not None and listed is Kind.FILE and size_bytes == 0:
            return Kind.SYMLINK
        return listed

    def close(self) -> None:
        """Fold the log in and close. Idempotent."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is changed inside is one transaction; a block inside another belongs to that."""
        outermost = not self._database.in_transaction
        if outermost:
            self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            if outermost:
                self._database.execute("COMMIT")
        except BaseException:
            if outermost and self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA wal_autocheckpoint=0"):
            connection.execute(statement)
        connection.executescript(TABLES)
    except BaseException:
        connection.close()
        raise
    return connection
