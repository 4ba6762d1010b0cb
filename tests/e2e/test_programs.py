"""Programs that do more with files than write them once: editors that save by rename, git, sqlite."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.mounted import Home
from tests.support.sites import Site, run, slow_on_historical, umount

OLD, NEW = b"the first edition\n" * 400, b"the second edition, which is longer\n" * 900


def save_as_vim_does(path: Path, data: bytes) -> None:
    """The system calls of Vim 9 with its defaults on Unix (`:w` of a file that exists): a swap file beside, a probe
    whether the folder can be written, the old file kept as a backup until the new one is safe."""
    swap = path.with_name(f".{path.name}.swp")
    swapped = os.open(swap, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.pwrite(swapped, bytes(4096), 0)
    os.pwrite(swapped, os.urandom(4096), 4096 * 2)
    os.fsync(swapped)
    before = path.stat()
    probe = os.open(path.with_name("4913"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, before.st_mode)
    os.fchown(probe, before.st_uid, before.st_gid)
    os.close(probe)
    path.with_name("4913").unlink()
    backup = path.with_name(path.name + "~")
    os.rename(path, backup)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for start in range(0, len(data), 8192):
        os.write(descriptor, data[start : start + 8192])
    os.fsync(descriptor)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
    os.close(descriptor)
    os.chmod(path, stat.S_IMODE(before.st_mode))
    backup.unlink()
    os.close(swapped)
    swap.unlink()


def save_as_libreoffice_does(path: Path, data: bytes) -> None:
    """A lock file beside, a lock on the document, the new content in a temporary file that is renamed over it."""
    lock = path.with_name(f".~lock.{path.name}#")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(descriptor, b",ann,desk,01.02.2025 10:00,file:///home/ann/.config/libreoffice/4;")
    os.close(descriptor)
    document = os.open(path, os.O_RDWR)
    fcntl.lockf(document, fcntl.LOCK_EX | fcntl.LOCK_NB)
    before = os.fstat(document)
    temporary = path.with_name("lu31415abc.tmp")
    written = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.ftruncate(written, 0)
    os.pwrite(written, data[-700:], len(data) - 700)  # a zip's directory and its entries are not written in order
    os.pwrite(written, data[:-700], 0)
    assert os.pread(written, 1000, 0) == data[:1000]
    os.fchmod(written, stat.S_IMODE(before.st_mode))
    os.fsync(written)
    os.close(written)
    fcntl.lockf(document, fcntl.LOCK_UN)
    os.close(document)
    os.rename(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
    lock.unlink()


SAVES = {"vim": save_as_vim_does, "libreoffice": save_as_libreoffice_does}


@pytest.mark.parametrize("editor", SAVES)
def test_save_by_rename_leaves_the_new_document_and_nothing_beside_it(portal: Site, place: Home, editor: str) -> None:
    portal.mount(place)
    work = place.mountpoint / editor
    work.mkdir()
    sent, fresh = work / "sent document.odt", work / "fresh document.odt"
    sent.write_bytes(OLD)
    sent.chmod(0o640)
    portal.remount(place)
    fresh.write_bytes(OLD)
    fresh.chmod(0o600)
    for document in (sent, fresh):
        SAVES[editor](document, NEW[::-1])
        SAVES[editor](document, NEW)
        assert document.read_bytes() == NEW
    assert sorted(os.listdir(work)) == [fresh.name, sent.name]
    portal.remount(place)
    assert sorted(os.listdir(work)) == [fresh.name, sent.name]
    assert [document.read_bytes() for document in (sent, fresh)] == [NEW, NEW]
    assert [stat.S_IMODE(document.stat().st_mode) for document in (sent, fresh)] == [0o640, 0o600]
    umount(place)


@slow_on_historical
def test_vim_edits_a_document_in_place(portal: Site, place: Home) -> None:
    portal.mount(place)
    work = place.mountpoint / "real vim"
    work.mkdir()
    document = work / "letter.txt"
    document.write_text("Dear reader,\nall is well.\n")
    document.chmod(0o640)
    portal.remount(place)
    for word, better in (("well", "fine"), ("fine", "splendid")):
        vim = [
            shutil.which("vim") or "vim.tiny",
            "-u",
            "NONE",
            "-i",
            "NONE",
            "-es",
            "--cmd",
            "set nocompatible",
            "-c",
            f"%s/{word}/{better}/",
        ]
        run(*vim, "-c", "wq", document, place=place, environment={"TERM": "dumb"})
    assert document.read_text() == "Dear reader,\nall is splendid.\n"
    portal.remount(place)
    assert os.listdir(work) == ["letter.txt"]
    assert document.read_text() == "Dear reader,\nall is splendid.\n"
    assert stat.S_IMODE(document.stat().st_mode) == 0o640
    umount(place)


def git(folder: Path, *arguments: str, place: Home) -> str:
    """Silent where it succeeds; as nobody's own configuration would have it."""
    names = {f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    quiet = {"GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    return run("git", "-C", folder, *arguments, place=place, environment=names | quiet)


def make_repository(source: Path, place: Home) -> None:
    """Some history: sources, a program, a link, a file that changes."""
    chance = random.Random(1)
    (source / "src" / "deep").mkdir(parents=True)
    git(source, "init", "-q", "-b", "main", place=place)
    for commit in range(6):
        for number in range(8):
            (source / "src" / f"{commit}-{number}.c").write_bytes(chance.randbytes(2000))
        (source / "src" / "deep" / "notes").write_text("line\n" * (commit + 1))
        (source / "run").write_text("#!/bin/sh\n")
        (source / "run").chmod(0o755)
        if commit == 0:
            (source / "link").symlink_to("src/deep/notes")
        git(source, "add", "-A", place=place)
        git(source, "commit", "-q", "-m", f"commit {commit}", place=place)


@pytest.mark.timeout(300)
def test_a_repository_cloned_onto_the_drive_is_sound(portal: Site, place: Home) -> None:
    source, clone = place.folder / "repository", place.mountpoint / "clone"
    make_repository(source, place)
    head = git(source, "rev-parse", "HEAD", place=place)
    portal.mount(place)
    git(place.folder, "clone", "-q", "--no-local", str(source), str(clone), place=place)
    assert_sound(clone, head, place)
    portal.remount(place)
    assert_sound(clone, head, place)
    (clone / "src" / "new").write_text("a new file\n")
    (clone / "src" / "deep" / "notes").unlink()
    git(clone, "checkout", "-q", "-b", "work", place=place)
    git(clone, "add", "-A", place=place)
    git(clone, "commit", "-q", "-m", "on the drive", place=place)
    git(clone, "gc", "-q", "--prune=now", place=place)
    head = git(clone, "rev-parse", "HEAD", place=place)
    git(clone, "checkout", "-q", "main", place=place)
    git(clone, "checkout", "-q", "work", place=place)
    assert_sound(clone, head, place)
    portal.remount(place)
    assert_sound(clone, head, place)
    umount(place)


def assert_sound(clone: Path, head: str, place: Home) -> None:
    git(clone, "fsck", "--strict", "--no-progress", "--no-dangling", place=place)
    assert git(clone, "status", "--porcelain", place=place) == ""
    assert git(clone, "rev-parse", "HEAD", place=place) == head
    assert os.readlink(clone / "link") == "src/deep/notes"
    assert os.access(clone / "run", os.X_OK)


FILL = """
PRAGMA journal_mode=DELETE;
CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX items_by_name ON items (name);
BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO items SELECT i, 'item ' || (i * 7919 % 3000), zeroblob(i % 500) FROM n;
COMMIT;
DELETE FROM items WHERE id % 3 = 0;
UPDATE items SET data = CAST(name AS BLOB) WHERE id % 7 = 1;
BEGIN;
DELETE FROM items;
ROLLBACK;
VACUUM;
"""
CHECK = "PRAGMA integrity_check; SELECT count(*), sum(id), sum(length(data)) FROM items;"


@pytest.mark.timeout(300)
def test_a_database_is_created_filled_and_whole(portal: Site, place: Home) -> None:
    portal.mount(place)
    work = place.mountpoint / "sqlite"
    work.mkdir()
    database = work / "items.db"
    assert sqlite(database, FILL, place) == "delete\n"
    found = sqlite(database, CHECK, place)
    assert found.splitlines()[0] == "ok"
    assert found.splitlines()[1].startswith("2000|3000000|")
    portal.remount(place)
    assert os.listdir(work) == ["items.db"]
    assert sqlite(database, CHECK, place) == found
    # In place, on a file that is on the portal: pages in the middle change, others are read from there.
    for number in range(5):
        sqlite(database, f"UPDATE items SET name = 'changed {number}' WHERE id % 100 = {number};", place)
    assert sqlite(database, CHECK, place).splitlines()[0] == "ok"
    portal.remount(place)
    assert sqlite(database, CHECK, place) == found
    changed = sqlite(database, "SELECT count(*) FROM items WHERE name LIKE 'changed %';", place)
    assert changed == sqlite(database, "SELECT count(*) FROM items WHERE id % 100 < 5;", place)
    umount(place)


def sqlite(database: Path, script: str, place: Home) -> str:
    return run("sqlite3", "-batch", "-bail", database, script, place=place)


@slow_on_historical
def test_a_second_program_that_locks_the_database_is_told_to_wait(portal: Site, place: Home) -> None:
    portal.mount(place)
    database = place.mountpoint / "locked.db"
    sqlite(database, "CREATE TABLE t (a);", place)
    with subprocess.Popen(
        ["sqlite3", "-batch", database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.write("BEGIN EXCLUSIVE; SELECT 'locked';\n")
        first.stdin.flush()
        assert first.stdout.readline() == "locked\n"
        refused = subprocess.run(
            ["sqlite3", "-batch", database, "INSERT INTO t VALUES (1);"], check=False, capture_output=True, text=True,
            timeout=20,
        )  # fmt: skip
        assert refused.returncode != 0
        assert "database is locked" in refused.stderr
        first.stdin.write("INSERT INTO t VALUES (2); COMMIT;\n")
        first.stdin.close()
        assert first.wait(timeout=20) == 0
    assert sqlite(database, "SELECT a FROM t;", place) == "2\n"
    umount(place)
