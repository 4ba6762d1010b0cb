"""A power cut imitated: a state folder as a disk has it that kept only what was fsynced.

    with watched(folder) as disk:
        ...                                          # a mount works in `folder`
        disk.leave(elsewhere, Damage.ZEROED, Log.ALL)

Kept are the content of a file when it was last fsynced, as far as nothing of it was cut off since; and the names that a
folder had when it was. What came later is damaged as file systems do it. SQLite syncs its databases itself, so they are
taken as they are; their logs are ours to sync.
"""

from __future__ import annotations

import enum
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest


class Damage(enum.Enum):
    """What became of the content that was not fsynced."""

    CUT = "cut short"
    ZEROED = "zeroed"
    MISSING = "missing"


class Log(enum.Enum):
    """How much of the outbox's log is there."""

    SYNCED = "what was synced"
    ALL = "all of it"
    TORN = "all but the end of the last commit"


every_way = pytest.mark.parametrize(
    ("damage", "log"), [(damage, log) for damage in Damage for log in Log], ids=lambda value: value.value
)


class Disk:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._durable: dict[Path, bytes] = {}
        self._names: set[Path] = set()
        self._shortest: dict[Path, int] = {}

    def synced(self, path: Path) -> None:
        if path.is_dir():
            self._names |= {one for one in path.iterdir() if one.is_file()}
        elif path.is_file():
            self._durable[path] = path.read_bytes()
            self._shortest.pop(path, None)

    def cut(self, path: Path, size: int) -> None:
        self._shortest[path] = min(size, self._shortest.get(path, size))

    def leave(self, target: Path, damage: Damage, log: Log) -> None:
        """Make `target` what another boot finds. It must not be there yet."""
        (target / "staged").mkdir(parents=True)
        for name in ("outbox.sqlite3", "nodes.sqlite3", "lock"):
            shutil.copyfile(self._folder / name, target / name)
        wal = self._folder / "outbox.sqlite3-wal"
        data, synced = wal.read_bytes(), len(self._durable.get(wal, b""))
        kept = {Log.SYNCED: synced, Log.ALL: len(data), Log.TORN: max(synced, len(data) - 100)}
        (target / wal.name).write_bytes(data[: kept[log]])
        staged = self._folder / "staged"
        for path in {*staged.iterdir(), *(one for one in self._durable if one.parent == staged)}:
            left = self._left(path, damage)
            if left is not None:
                (target / "staged" / path.name).write_bytes(left)

    def _left(self, path: Path, damage: Damage) -> bytes | None:
        now = path.read_bytes() if path.exists() else None
        safe = self._durable.get(path)
        if path not in self._names and damage is Damage.MISSING:
            return None
        if now is None or now == safe:  # that it was removed may not have reached the disk
            return safe
        kept = b"" if safe is None else safe[: self._shortest.get(path, len(safe))]
        match damage:
            case Damage.CUT:
                return kept + now[len(kept) : (len(kept) + len(now)) // 2]
            case Damage.ZEROED:
                return kept + bytes(max(0, len(now) - len(kept)))
            case Damage.MISSING:
                return kept


@contextmanager
def watched(folder: Path) -> Iterator[Disk]:
    """What this process does to files of `folder`, which need not be there yet."""
    disk = Disk(folder)
    fsync, ftruncate = os.fsync, os.ftruncate

    def path_of(descriptor: int) -> Path:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))

    def watched_fsync(descriptor: int) -> None:
        fsync(descriptor)
        if path_of(descriptor).is_relative_to(folder):
            disk.synced(path_of(descriptor))

    def watched_ftruncate(descriptor: int, length: int) -> None:
        ftruncate(descriptor, length)
        disk.cut(path_of(descriptor), length)

    with mock.patch.object(os, "fsync", watched_fsync), mock.patch.object(os, "ftruncate", watched_ftruncate):
        yield disk
