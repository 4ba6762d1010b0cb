"""The outbox: the ordered, durable list of changes that are not on the portal yet.

Every method is synchronous and commits before it returns: it runs on the event loop between two awaits, so that state
in memory and on disk never differ for anybody else. What cannot be committed (NoSpace) has not happened in memory
either. Only `sync` and `checkpoint` block for long (they fsync): call them in a thread.

The outbox keeps records and wakes who watches; it decides nothing. What may be sent is `order`, who sends is
`scheduler`, what the kernel is told of pending changes is the overlay in `vfs`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitcasafs.values.items import IdempotencyKey, Kind
from bitcasafs.writing.change import Change, Number, Record, State
from bitcasafs.writing.index import Index
from bitcasafs.writing.known_node import REMEMBER, KnownNode, needed_nodes, read_nodes
from bitcasafs.writing.lock import take_lock
from bitcasafs.writing.schema import (
    INSERT,
    UPDATE,
    encode_record,
    note_use,
    open_database,
    read_records,
    told_of_disk,
)


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """`pending` counts what will be sent (ready, sending, or open and waiting for its close); `oldest_ns` is when the
    oldest of these was made (None: there is none, or a release made it that kept no times).
    """

    pending: int
    sending: int
    open: int
    problems: int
    pending_bytes: int
    newest_id: int
    oldest_ns: int | None = None


class Outbox:
    """Who may use it: one process at a time, the one that holds the lock."""

    def __init__(self, folder: Path, boot_id: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Open the outbox in `folder` (made 0700). Locked: another process has it; the text names its pid.
        ConfigError: it was written by a newer release, is damaged, or this user may not use it.
        """
        self._folder = folder
        self._path = folder / "outbox.sqlite3"
        self._boot_id = boot_id
        self._now_ns = now_ns
        self.index = Index()
        self._remembered: dict[Number, KnownNode] = {}
        self.urgent: set[int] = set()
        """Changes that somebody waits for (see `deliveries`): what is written to such content goes on in a copy."""
        self.touches = 0
        """How often a change was made or sealed: what the portal's answers do does not count."""
        self._undo: list[Callable[[], object]] | None = None
        self._after: list[Callable[[], object]] = []
        self._watchers: list[Callable[[], None]] = []
        self._once: list[Callable[[], None]] = []
        with contextlib.ExitStack() as undone:
            self._lock = take_lock(folder)
            undone.callback(os.close, self._lock)
            self._database = open_database(self._path)
            undone.callback(self._database.close)
            for record in read_records(self._database, self._path):
                self.index.add(record)
            self._newest = max(self.index.records, default=0)
            self.interrupted = [record.id for record in self if record.state is State.SENDING]
            for number in self.interrupted:
                self.update(self.index.records[number].moved(State.READY, unsure=True))
            undone.pop_all()

    # --- reading --------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record]:
        return iter(self.index.records.values())

    def __len__(self) -> int:
        return len(self.index.records)

    @property
    def boot_id(self) -> str:
        """Of the boot that this process runs in."""
        return self._boot_id

    def get(self, number: int) -> Record | None:
        return self.index.records.get(number)

    def of_node(self, node: Number) -> list[Record]:
        """The node's own unsent changes, oldest first."""
        return self.index.of_node(node)

    def naming(self, node: Number) -> Iterator[Record]:
        """Unsent changes that name the node as one of their folders or as what they replace, oldest first."""
        return self.index.naming(node)

    def taking(self, node: Number) -> list[Record]:
        """Unsent changes that replace the node, or exchange its name (`Fields.over_node`), oldest first."""
        return self.index.taking(node)

    def concerns(self, node: Number) -> bool:
        """Content of the node waits, or a change of it or of something in it that will be sent."""
        waits = any(one.staged is not None or one.state is not State.PROBLEM for one in self.of_node(node))
        return waits or any(one.state is not State.PROBLEM for one in self.naming(node))

    def at_place(self, folder: Number, name: str) -> list[Record]:
        """Unsent changes that take or give up that name, oldest first."""
        return self.index.at_place(folder, name)

    def names_in(self, folder: Number) -> list[str]:
        """Names of that folder that unsent changes take or give up."""
        return self.index.names_in(folder)

    def ready(self, *, contents: bool) -> Iterator[Record]:
        """READY changes, oldest first: contents, or all others. Not to be changed meanwhile."""
        return self.index.ready(contents=contents)

    @property
    def oldest_id(self) -> int:
        """Of all that wait to be sent; more than any id when nothing does."""
        return next((one.id for one in self if not one.change.fields.local), 1 << 63)

    @property
    def ready_count(self) -> int:
        return self.index.states[State.READY]

    @property
    def unsynced(self) -> list[Record]:
        """Content that was sealed and not noted as synced since."""
        return [self.index.records[number] for number in self.index.unsynced]

    @property
    def perhaps_synced(self) -> set[str]:
        """Staged files that the disk may say are synced, whatever was committed since; `Contents` takes them out."""
        return self.index.perhaps_synced

    def note_use(self) -> tuple[int, int]:
        """As `schema.note_use` has it."""
        return note_use(self._database, self._boot_id, self._now_ns())

    @property
    def newest_id(self) -> int:
        return self._newest

    def watch(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of the list; it must not raise or wait."""
        self._watchers.append(callback)

    def watch_once(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the next change of the list, then forget it."""
        self._once.append(callback)

    # --- writing --------------------------------------------------------------------------------------------------

    def append(self, change: Change, *, state: State = State.READY, staged: str | None = None) -> Record:
        """Add a change; durable against kill -9 on return. NoSpace."""
        self.touches += 1
        record = Record(
            id=0,
            change=change,
            state=state,
            generation=0,
            key=new_key(),
            boot_id=self._boot_id,
            synced=False,
            staged=staged,
            made_ns=self._now_ns(),
        )
        number = self._execute(INSERT, encode_record(record)[1:]).lastrowid
        assert number is not None
        record = replace(record, id=number)
        self.index.add(record)
        self._newest = number
        self._done(lambda: self.index.take(number))
        return record

    def update(self, record: Record) -> Record:
        """Replace the record of that id (which must exist). NoSpace."""
        before = self.index.records[record.id]
        number, *row = encode_record(record)
        self._execute(UPDATE, (*row, number))
        self.index.replace(record)
        self._done(lambda: self.index.replace(before))
        return record

    def move_to_end(self, record: Record) -> Record:
        """Replace the record of that id by the same one with a new id: it is younger now than all others. NoSpace."""
        with self.together():
            self.remove(record.id)
            number = self._execute(INSERT, encode_record(record)[1:]).lastrowid
            assert number is not None
            record = replace(record, id=number)
            self.index.add(record)
            self._newest = number
            self._done(lambda: self.index.take(number))
        return record

    def hold(self, record: Record) -> Record:
        """Replace the record of that id in memory alone: of content that was never sealed nothing is promised, and the
        seal writes all of it. A commit less for each attribute that `cp -a` sets.
        """
        before = self.index.records[record.id]
        self.index.replace(record)
        self._done(lambda: self.index.replace(before))
        return record

    def seal(self, record: Record, change: Change) -> Record:
        """Fix a generation of content: what flush and fsync promise. A new key: another content is another request."""
        self.touches += 1
        return self.update(
            replace(
                record.moved(State.READY),
                change=change,
                generation=record.generation + 1,
                key=new_key(),
                boot_id=self._boot_id,
                synced=False,
                unsure=False,
            )
        )

    def note_synced(self, sealed: Iterable[Record]) -> None:
        """The staged files of those records are on the disk as they were sealed. What was sealed anew or written since
        is not. NoSpace.
        """
        with self.together():
            for record in sealed:
                current = self.get(record.id)
                if current is not None and current.generation == record.generation and current.state is not State.OPEN:
                    self.update(replace(current, synced=True))

    def remove(self, number: int) -> None:
        """It is on the portal, or was taken back. NoSpace."""
        self._execute("DELETE FROM changes WHERE id = ?", (number,))
        record = self.index.take(number)
        self.urgent.discard(number)
        self._done(lambda: self.index.add(record))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is changed inside is durable together: after a kill all of it is there, or none. When the block raises
        none of it has happened. Nothing inside may wait; a block inside another belongs to that.
        """
        if self._undo is not None:
            yield
            return
        self._execute("BEGIN IMMEDIATE")
        self._undo, after = [], self._after
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            for undo in reversed(self._undo):
                undo()
            self._remembered.clear()
            after.clear()
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        finally:
            self._undo, self._after = None, []
            self.wake()
        for callback in after:
            callback()

    def afterwards(self, callback: Callable[[], object]) -> None:
        """Call it when the present `together` is durable, or now where there is none: what cannot be undone (a file is
        removed) must wait for that.
        """
        if self._undo is None:
            callback()
        else:
            self._after.append(callback)

    # --- nodes that changes name ----------------------------------------------------------------------------------

    def remember(self, known: KnownNode) -> None:
        """Keep how a node is found again, so that a change that names it can be sent after a restart."""
        if self._remembered.get(known.number) == known:  # every change in a folder names the folders above it
            return
        self._execute(REMEMBER, known.row)
        if known.kind is Kind.FOLDER:
            self._remembered[known.number] = known

    def known_nodes(self) -> list[KnownNode]:
        """As an earlier mount, or this one, has remembered them."""
        return read_nodes(self._database, self._path)

    def forget_nodes(self) -> None:
        """Forget the nodes that no change names, nor leads to one that is named. The highest stays, so that its number
        and those below it are never given to another node.
        """
        known = {one.number: one for one in self.known_nodes()}
        needed = needed_nodes(known, self)
        with self.together(), told_of_disk():  # a commit for each would cost 0.3 s for ten thousand
            self._database.executemany("DELETE FROM nodes WHERE number = ?", [(n,) for n in known.keys() - needed])
        self._remembered.clear()

    # --- durability and end ---------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Make everything committed so far survive a power cut. Blocks; thread-safe; idempotent.

        SQLite itself syncs the database when the log is folded in. Nobody else in this process may open it: closing any
        descriptor of it would drop SQLite's locks (fcntl(2)), and another process that looks into it would take itself
        for the last one and delete the log.
        """
        for path in (self._wal, self._folder):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # no commit since the last checkpoint
                continue
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @property
    def _wal(self) -> Path:
        return self._path.with_name(self._path.name + "-wal")

    @property
    def log_bytes(self) -> int:
        """Length of the write-ahead log: it grows by 28 KB for each file that is made, sealed and sent (measured),
        until `checkpoint`.
        """
        with contextlib.suppress(FileNotFoundError):
            return self._wal.stat().st_size
        return 0

    def checkpoint(self) -> None:
        """Fold the log into the database. Blocks; thread-safe. Commits on the loop go on while most of it is done, and
        wait for the last part (two fsyncs with little to write). Does nothing when the disk is full.
        """
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            for mode in ("PASSIVE", "TRUNCATE"):
                connection.execute(f"PRAGMA wal_checkpoint({mode})")
        except sqlite3.OperationalError:
            return
        finally:
            connection.close()

    def statistics(self) -> OutboxStatistics:
        states = self.index.states
        return OutboxStatistics(
            pending=len(self) - states[State.PROBLEM] - self.index.local,
            sending=states[State.SENDING],
            open=states[State.OPEN],
            problems=states[State.PROBLEM],
            pending_bytes=self.index.waiting_bytes,
            newest_id=self._newest,
            oldest_ns=self.index.oldest_ns,
        )

    def close(self) -> None:
        """Checkpoint, close and give the lock back. Idempotent."""
        if self._lock >= 0:
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk: the log holds everything
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._database.close()
            os.close(self._lock)
            self._lock = -1

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        with told_of_disk():
            return self._database.execute(statement, values)

    def _done(self, undo: Callable[[], object]) -> None:
        if self._undo is None:
            self.wake()
        else:
            self._undo.append(undo)

    def wake(self) -> None:
        """Tell the watchers: the list has changed, or something may go now though it is the same."""
        once, self._once = self._once, []
        for callback in (*self._watchers, *once):
            callback()


def new_key() -> IdempotencyKey:
    """128 random bits in hex; never used before."""
    return IdempotencyKey(secrets.token_hex(16))
