"""Opening: made, migrated, refused; and the same tables for the other database."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

from bitcasafs.errors import Busy, ConfigError, NoSpace
from bitcasafs.server.metadata import Metadata, altering, contents, expiry, listing, tree, view
from bitcasafs.server.metadata.engine import Database
from bitcasafs.server.metadata.migrations import STEPS, prepare
from bitcasafs.server.metadata.schema import settings, tables
from bitcasafs.values.operations import Symlink
from tests.support.metadata import HandClock, open_scene, request


def url(path: Path) -> str:
    return f"sqlite:///{path}/metadata.db"


def test_what_was_there_is_there_after_opening_again(tmp_path: Path, clock: HandClock) -> None:
    scene = open_scene(tmp_path, clock)
    item = scene.put("a", b"data")
    scene.metadata.close()
    scene.metadata.close()
    scene.metadata = Metadata.open(url(tmp_path), clock=clock)
    assert scene.items() == [item]
    assert scene.read("a") == b"data"
    scene.metadata.close()


def test_the_file_is_its_owners_alone(tmp_path: Path, clock: HandClock) -> None:
    scene = open_scene(tmp_path, clock)
    scene.put("a")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"metadata.db": 0o600, "metadata.db-wal": 0o600, "metadata.db-shm": 0o600}
    scene.metadata.close()


def test_every_connection_is_durable_and_checks_references(tmp_path: Path) -> None:
    database = Database(url(tmp_path))
    for engine in database.engines():
        with engine.connect() as connection:
            pragmas = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        assert pragmas == ["wal", 2, 1]
    database.close()


def test_an_old_database_is_migrated_step_by_step(tmp_path: Path, clock: HandClock) -> None:
    open_scene(tmp_path, clock).metadata.close()
    ran: list[int] = []

    def second(connection: Connection) -> None:
        ran.append(2)
        connection.execute(text("ALTER TABLE users ADD COLUMN shoe_size INTEGER"))

    def third(connection: Connection) -> None:
        ran.append(3)
        connection.execute(text("UPDATE users SET shoe_size = 42"))

    database = Database(url(tmp_path))
    for _ in range(2):
        with database.writing() as connection:
            prepare(connection, [*STEPS, second, third])
    with database.reading() as connection:
        assert connection.execute(text("SELECT name, shoe_size FROM users")).all() == [("anna", 42)]
        version = connection.execute(select(settings.c.value).where(settings.c.key == "schema")).scalar_one()
    assert (ran, version) == ([2, 3], str(len(STEPS) + 3))
    database.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path, clock: HandClock) -> None:
    open_scene(tmp_path, clock).metadata.close()

    def broken(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE users ADD COLUMN shoe_size INTEGER"))
        raise Busy("the power went")

    database = Database(url(tmp_path))
    with pytest.raises(Busy), database.writing() as connection:
        prepare(connection, [*STEPS, broken])
    database.close()
    Metadata.open(url(tmp_path), clock=clock).close()
    raw = sqlite3.connect(tmp_path / "metadata.db")
    assert "shoe_size" not in [row[1] for row in raw.execute("PRAGMA table_info(users)")]
    raw.close()


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path, clock: HandClock) -> None:
    open_scene(tmp_path, clock).metadata.close()
    raw = sqlite3.connect(tmp_path / "metadata.db")
    raw.execute("UPDATE settings SET value = '99' WHERE key = 'schema'")
    raw.commit()
    raw.close()
    with pytest.raises(ConfigError, match=r"version 99.*newer"):
        Metadata.open(url(tmp_path), clock=clock)


def test_a_database_of_somebody_else_is_refused(tmp_path: Path, clock: HandClock) -> None:
    raw = sqlite3.connect(tmp_path / "metadata.db")
    raw.execute("CREATE TABLE photos (id INTEGER)")
    raw.close()
    with pytest.raises(ConfigError, match="not BitcasaFS"):
        Metadata.open(url(tmp_path), clock=clock)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "metadata.db").write_bytes(b"all work and no play " * 100)
    with pytest.raises(ConfigError, match="not a database"):
        Metadata.open(url(tmp_path), clock=clock)


@pytest.mark.parametrize(
    "bad", ["", "nonsense", "oracle9://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:////proc/x"]
)
def test_a_url_that_cannot_be_used_is_refused(bad: str, clock: HandClock) -> None:
    with pytest.raises(ConfigError):
        Metadata.open(bad, clock=clock)


def test_a_password_in_a_url_stays_out_of_the_error(clock: HandClock) -> None:
    with pytest.raises(ConfigError) as caught:
        Metadata.open("oracle9://user:hunter2@host:x/y", clock=clock)
    assert "hunter2" not in str(caught.value)


def test_a_full_disk_is_told_from_a_busy_database(tmp_path: Path, clock: HandClock) -> None:
    scene = open_scene(tmp_path, clock)
    _, writers = scene.metadata.database.engines()
    with writers.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    requests = [request(Symlink(scene.root, f"{n}", "x" * 4000)) for n in range(50)]
    told = list(scene.metadata.apply(scene.user, requests))
    assert {type(one.error) for one in told} == {NoSpace}
    assert scene.names() == []
    scene.metadata.close()


def test_postgresql_can_have_the_same_tables_and_statements() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    said = [str(CreateTable(table).compile(dialect=dialect)) for table in tables.sorted_tables]
    said += [
        str(CreateIndex(index).compile(dialect=dialect)) for table in tables.tables.values() for index in table.indexes
    ]
    assert sum('COLLATE "C"' in one for one in said) >= 4
    for module in (view, tree, listing, altering, contents, expiry):
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, ClauseElement):
                assert str(value.compile(dialect=dialect))
