"""What the kernel is told of a node: one frozen value, and what it may ask to change.

Units: times in nanoseconds since the epoch, sizes in bytes, time-outs in seconds. Source: FUSE protocol, stat(2).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import NewType

from bitcasafs.values.items import Kind

Handle = NewType("Handle", int)
"""An open file or folder of this mount."""

FORMATS = {
    Kind.FILE: stat.S_IFREG,
    Kind.FOLDER: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """The attributes of a node, and for how long the kernel may believe them."""

    number: int
    kind: Kind
    permissions: int
    uid: int
    gid: int
    size_bytes: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    nlink: int = 1
    entry_timeout_seconds: float = 0.0
    attr_timeout_seconds: float = 0.0

    @property
    def mode(self) -> int:
        """File type and permissions, as in st_mode."""
        return FORMATS[self.kind] | self.permissions


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such name, and the kernel may remember that for `entry_timeout_seconds`."""

    entry_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One name of an open folder. `cookie` is where reading goes on after it; stable while the folder is open."""

    cookie: int
    name: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file. `keep_pages`: the kernel's pages are of this very version."""

    handle: Handle
    keep_pages: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: owner of what is made."""

    uid: int
    gid: int
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What setattr(2) and its family ask for; None leaves a field as it is. `permissions`: the 12 bits."""

    size_bytes: int | None = None
    permissions: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """Answer to statfs(2). `total_bytes` is 1 PiB where the portal has no limit."""

    total_bytes: int
    free_bytes: int
    files: int
    name_bytes: int = 255
