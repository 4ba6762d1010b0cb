"""The database's connections: the one module that knows which database it is.

SQLite: WAL, so that readers and the writer do not wait for each other; synchronous=FULL, so that a commit has reached
the disk when it returns; BEGIN IMMEDIATE for writes, so that a write never fails half way because another came first;
one writer at a time, waiting in order instead of polling the file. PostgreSQL: readers in one snapshot each; writers
are ordered by the drive's row.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.sql.dml import Insert

from bitcasafs.errors import BitcasaError, Busy, ConfigError, NoSpace
from bitcasafs.server.metadata.schema import discarded

BUSY_MILLISECONDS = 10_000
"""How long a write waits for a writer of another process; within this one `_turn` queues them."""

WRITER_CACHE_KIB = 16_384
"""Only the writer gets a large page cache: readers are many, and the kernel has the file cached anyway."""


class Database:
    """One pool of readers and one of writers over the same database."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet, but makes SQLite's file, readable for its owner alone. ConfigError."""
        try:
            parsed = make_url(url)
            self._sqlite = parsed.get_backend_name() == "sqlite"
            if self._sqlite:
                _make_file(parsed)
            self._readers = self._engine(parsed, writer=False)
            self._writers = self._engine(parsed, writer=True)
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
            # The URL may hold a password: the error of `make_url` quotes it, so it is not passed on.
            raise ConfigError(f"the metadata's database URL cannot be used ({type(error).__name__})") from None
        self._turn: AbstractContextManager[object] = threading.Lock() if self._sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot. Busy."""
        with translated(), self._readers.connect() as connection, connection.begin():
            yield connection

    def open_reading(self) -> Connection:
        """A snapshot that outlives the call; whoever gets it closes it. Busy."""
        with translated():
            connection = self._readers.connect()
            connection.begin()
            return connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Commits at the end, and not when the block raises. Busy or NoSpace: nothing was changed, unless `applied`
        says that it is not known."""
        with self._turn, translated(), self._writers.connect() as connection:
            transaction = connection.begin()
            try:
                yield connection
            except BaseException:
                transaction.rollback()
                raise
            with translated(applied=None):
                transaction.commit()

    def insert_or_leave(self) -> Insert:
        """An INSERT into `discarded` that leaves what is there: both databases say it alike, SQLAlchemy does not."""
        if self._sqlite:
            return sqlite.insert(discarded).on_conflict_do_nothing()
        return postgresql.insert(discarded).on_conflict_do_nothing()

    def close(self) -> None:
        self._readers.dispose()
        self._writers.dispose()

    def engines(self) -> tuple[Engine, Engine]:
        """Readers' and writers', for whoever watches statements."""
        return self._readers, self._writers

    def _engine(self, url: URL, *, writer: bool) -> Engine:
        if not self._sqlite:
            level = "READ COMMITTED" if writer else "REPEATABLE READ"
            return create_engine(url, isolation_level=level, pool_pre_ping=True)
        # A long listing keeps its connection while it is sent: more of them must not make anybody wait.
        engine = create_engine(url, pool_size=1 if writer else 8, max_overflow=-1)

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, record: object) -> None:
            _configure(connection, writer=writer)

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            if writer:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                # Straight to the driver: through SQLAlchemy it costs 30 us, a third of a query by key. It waits for
                # nothing and cannot fail, so there is nothing to translate.
                connection.connection.cursor().execute("BEGIN")

        return engine


@contextmanager
def translated(*, applied: bool | None = False) -> Iterator[None]:
    """Inside, a database that cannot answer now raises Busy, or NoSpace when its disk is full."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _kind(error, applied) from error


def _kind(error: DBAPIError, applied: bool | None) -> BitcasaError:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return NoSpace("the disk under the server's metadata is full")
    return Busy("the server's metadata cannot be reached now", applied=applied)


def _make_file(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigError("the metadata needs a file: sqlite:////path/to/metadata.db")
    try:
        # SQLite gives its WAL the same permissions.
        os.close(os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(f"{url.database} cannot be opened: {error.strerror}") from error


def _configure(connection: sqlite3.Connection, *, writer: bool) -> None:
    # The driver begins no transactions of its own: `on_begin` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    if writer:
        cursor.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    cursor.close()
