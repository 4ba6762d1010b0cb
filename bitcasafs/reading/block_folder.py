"""The folder of the block store: its lock, the names in it, what is found at a mount, and how contents leave it.

Who uses: `blocks`. A content's two files lie in a folder named by the first byte of its key. What is not named like
that is somebody else's and let be.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bitcasafs.atomic import make_private_folder
from bitcasafs.disk import Disk, disk_of
from bitcasafs.errors import Locked
from bitcasafs.reading.block_file import MAP, close_all, disk_bytes, unlink_files
from bitcasafs.reading.eviction import Idle

MOST_CLOSING = 32
"""Removed contents whose descriptors wait to be closed; beyond that many the remover closes them itself."""

_FOLDER = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"([0-9a-f]{62})(\.data|\.map)")


class BlockFolder:
    """Not safe for threads. A thread of its own closes what was removed."""

    def __init__(self, path: Path) -> None:
        """Make the folder (0700) and lock it. Locked: another process has it. ConfigError: it is open to others, or
        somebody else's. OSError."""
        make_private_folder(path)
        self.path = path
        self._lock = _take_lock(path / "lock")
        self._closer = ThreadPoolExecutor(1, "blocks")
        self._closing = threading.Lock()
        self._closing_sizes: list[int] = []
        """What is being freed; guarded by the lock above."""

    @property
    def is_open(self) -> bool:
        return self._lock >= 0

    def stem(self, key: str) -> Path:
        """The path of both files of a content, without their endings."""
        return self.path / key[:2] / key[2:]

    def disk(self) -> Disk | None:
        """0.6 us; what is being freed counts as free. None: somebody removed the folder, and our lock with it; nothing
        more is kept in this mount."""
        try:
            told = disk_of(self.path)
        except OSError:
            return None
        with self._closing:
            freed_soon = sum(self._closing_sizes)
        return Disk(told.free_bytes + freed_soon, told.total_bytes)

    def find(self) -> Iterator[Idle]:
        """What earlier mounts left, in no order; 12 us each. Half of a pair claims nothing and is removed."""
        for entry in _scan(self.path):
            if not _FOLDER.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
                continue
            pairs: dict[str, dict[str, os.stat_result]] = {}
            for file in _scan(Path(entry.path)):
                named = _NAME.fullmatch(file.name)
                if named and file.is_file(follow_symlinks=False):
                    pairs.setdefault(named[1], {})[named[2]] = file.stat(follow_symlinks=False)
            for rest, files in pairs.items():
                if len(files) == 2:
                    yield Idle(entry.name + rest, sum(map(disk_bytes, files.values())), files[MAP].st_mtime_ns)
                else:
                    self.remove(entry.name + rest, sum(map(disk_bytes, files.values())))

    def note_used(self, key: str, now_ns: int) -> None:
        """The map's time is when the content was last used, for the next mount."""
        with contextlib.suppress(OSError):
            os.utime(f"{self.stem(key)}{MAP}", ns=(now_ns, now_ns), follow_symlinks=False)

    def remove(self, key: str, size_bytes: int) -> None:
        """Take a content's files away; what cannot be removed is left. `size_bytes`: what they take of the disk."""
        descriptors = unlink_files(self.stem(key))
        with self._closing:
            is_room = len(self._closing_sizes) < MOST_CLOSING
            if is_room:
                self._closing_sizes.append(size_bytes)
        if is_room:
            self._closer.submit(self._close, descriptors, size_bytes)
        else:
            close_all(descriptors)

    def close(self) -> None:
        """Give the lock back. Idempotent."""
        if self.is_open:
            self._closer.shutdown(wait=False)
            os.close(self._lock)
            self._lock = -1

    def _close(self, descriptors: list[int], size_bytes: int) -> None:
        close_all(descriptors)
        with self._closing:
            self._closing_sizes.remove(size_bytes)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _take_lock(path: Path) -> int:
    """An flock that the kernel gives back when this process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Locked(f"another process uses the blocks in {path.parent}") from None
    return descriptor
