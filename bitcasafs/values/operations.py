"""The mutations of a drive as frozen values: what a batch carries (portal protocol 2.2).

The mount's outbox, the remote's adapters, the wire and the server's metadata all speak of these; each names its target,
its condition and what to do when the name is taken. Content is not part of a value: a `Put` says its size and digest,
and whoever sends or receives it holds the bytes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bitcasafs.values.items import Address, AttributeChange, IdempotencyKey, Version


class OnExisting(enum.Enum):
    """What to do when the name is taken (`exists`); not every operation knows every one (see each class)."""

    FAIL = "fail"
    OVERWRITE = "overwrite"
    RENAME = "rename"
    MERGE = "merge"
    EXCHANGE = "exchange"


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a folder: an entry. `name` is a valid name (1..255 bytes of UTF-8)."""

    parent: Address
    name: str


@dataclass(frozen=True, slots=True)
class Made:
    """The item that operation `op` (0-based) of the same batch made."""

    op: int


Target = Address | Place | Made


@dataclass(frozen=True, slots=True)
class Mkdir:
    """Make a folder. `exists`: FAIL, or MERGE (answer the present folder)."""

    parent: Address | Made
    name: str
    exists: OnExisting = OnExisting.FAIL
    attributes: AttributeChange = AttributeChange()
    parent_mtime_ns: int | None = None
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Store a file. `exists`: FAIL, OVERWRITE (the node stays, `if_match` guards), RENAME (`name (1).ext`).

    `md5` (hex) is checked against what arrives when given.
    """

    parent: Address | Made
    name: str
    size_bytes: int
    exists: OnExisting = OnExisting.FAIL
    if_match: Version | None = None
    md5: str | None = None
    attributes: AttributeChange = AttributeChange()
    parent_mtime_ns: int | None = None
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class Symlink:
    """Make a symbolic link. `exists`: FAIL or OVERWRITE. `symlink` is the link's text."""

    parent: Address | Made
    name: str
    symlink: str
    exists: OnExisting = OnExisting.FAIL
    if_match: Version | None = None
    attributes: AttributeChange = AttributeChange()
    parent_mtime_ns: int | None = None
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """Merge `change` into the target's attributes; `if_revision` is a condition."""

    target: Address | Place | Made
    change: AttributeChange
    if_revision: int | None = None
    parent_mtime_ns: int | None = None
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Give an entry another parent and name, atomically. `exists`: FAIL, OVERWRITE (a file by a file, an empty folder
    by a folder) or EXCHANGE. `if_match`: the target's version, or a folder's revision in decimal;
    `if_match_target`: the same of what is replaced.
    """

    target: Address | Place | Made
    parent: Address | Made
    name: str
    exists: OnExisting = OnExisting.FAIL
    if_match: Version | None = None
    if_match_target: Version | None = None
    parent_mtime_ns: int | None = None
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an entry. A folder that is not empty: NotEmpty, unless `recursive`."""

    target: Address | Place | Made
    if_match: Version | None = None
    recursive: bool = False
    parent_mtime_ns: int | None = None
    key: IdempotencyKey | None = None


Operation = Mkdir | Put | Symlink | SetAttributes | Move | Delete
"""`link` joins with the extension `links`."""
