"""An item of the drive as a portal tells of it: names, numbers and attributes, each frozen.

Source: portal protocol 1.4 (fields), 2.1 (node, version, revision), 2.4 (attributes), docs/protocol.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

NodeId = NewType("NodeId", str)
"""Opaque identity of an item for its life, at most 64 characters, unique in the drive. Never a path."""

Version = NewType("Version", str)
"""One content of a file. Changes with content only. On a historical portal: the file's `id`."""

Cursor = NewType("Cursor", str)
"""A moment in the drive's history, ordered by commit; opaque."""

IdempotencyKey = NewType("IdempotencyKey", str)
"""16 to 64 characters, unique per account; the same key and request get the same answer."""


class Kind(enum.Enum):
    """What an item is. A symlink is an item of type 0 with `attributes.symlink`; a special one has `special`."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"


class RootKind(enum.Enum):
    """`sync_type` of a root: only the drive can be changed, the others are read-only mirrors of devices."""

    DRIVE = "infinite drive"
    BACKUP = "backup"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an item is on the remote: by identity where it has one, and always by path.

    `path` is `/` + drive id (64 hex digits) + `/` + names, plain (never percent-encoded), no trailing slash; the
    roots' parent is `/`. `node` is None on a historical portal, which knows paths alone.
    """

    path: str
    node: NodeId | None = None

    def child(self, name: str) -> Address:
        """The address of `name` in this folder; the child's identity is not known by that."""
        return Address(f"{self.path.rstrip('/')}/{name}")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a portal with `attributes` keeps of an item; None means that it keeps nothing for that field.

    `mode`: the 12 permission bits. `uid`, `gid`: unsigned 32 bits. Times: signed 64-bit nanoseconds since the epoch.
    `symlink`: the target, at most 4,095 bytes of UTF-8. `xattrs`: names to values (bytes), 64 KiB in all.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None
    ctime_ns: int | None = None
    btime_ns: int | None = None
    symlink: str | None = None
    special: str | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """A merge into attributes: a key in `values` replaces, a key in `removed` removes, any other stays.

    Keys of `values` and `removed` are field names of `Attributes` except `xattrs`; `xattrs` maps a name to its new
    value, or to None to remove it (protocol 2.4).
    """

    values: Mapping[str, int | str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    xattrs: Mapping[str, bytes | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.removed or self.xattrs)


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a listing, or one root, as the wire tells it.

    `path` as in `Address`. `mtime_ms` milliseconds since the epoch. Of files only: `id` (88 characters), `size_bytes`,
    `mime`, `extension`, `version`, `digests` ({"md5": hex}). With any extension: `node`, `revision`. Of roots only:
    `root`. `nlink` is 1 unless the portal has `links`.
    """

    name: str
    path: str
    kind: Kind
    mtime_ms: float = 0
    mirrored: bool = False
    category: str = "other"
    id: str | None = None
    size_bytes: int = 0
    mime: str = "application/octet-stream"
    extension: str = ""
    manifest_name: str = ""
    incomplete: bool = False
    album: str | None = None
    artist: str | None = None
    node: NodeId | None = None
    parent: NodeId | None = None
    version: Version | None = None
    revision: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    attributes: Attributes = Attributes()
    nlink: int = 1
    root: RootKind | None = None
    mount_point: str | None = None
    deleted: bool = False
    origin_device: str | None = None
    origin_device_id: str | None = None

    @property
    def address(self) -> Address:
        return Address(self.path, self.node)

    @property
    def is_folder(self) -> bool:
        return self.kind is Kind.FOLDER


@dataclass(frozen=True, slots=True)
class Listing:
    """All items of one folder, and a moment not later than the first row (None on a historical portal)."""

    items: tuple[Item, ...]
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Who is logged in and what the drive holds. None: the portal does not say (or there is no limit)."""

    email: str = ""
    first_name: str = ""
    last_name: str = ""
    quota_bytes: int | None = None
    used_bytes: int = 0
    files: int | None = None
