"""What the server's metadata takes and answers: frozen values, without a database in them.

Who implements: `metadata.store.Metadata`, whose methods are the rest of this interface. Who uses: the server's routes,
its upload path, its housekeeping and its command line. Times are nanoseconds since the epoch, durations seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from bitcasafs.errors import BitcasaError
from bitcasafs.values.items import Cursor, Item, Version
from bitcasafs.values.operations import Operation

EMPTY_SHA256 = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Bytes that the content store already holds durably: `digest` is their sha256 (32 bytes), `md5` is hex."""

    digest: bytes
    md5: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """One operation that somebody asks for. `content` stands beside each Put and nowhere else.

    `fingerprint` is a digest of the whole request (operation and content, without the key): with `operation.key` it
    tells a repeat from another request that took the same key. At most 128 characters; unused without a key.
    """

    operation: Operation
    content: StoredContent | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one request. When it is handed out, it is durable.

    Success: `error` is None; `status` is 201 when a name came into being, else 200; `item` is the item after it, None
    after a delete. Failure: `status` is 0 (the wire has its own table for `error`); nothing was changed; `current` is
    the item in the way, where there is one. `cursor` is a moment not later than `item`. `replayed`: an earlier
    request with this key did it, and this is the answer it got.
    """

    status: int
    item: Item | None = None
    error: BitcasaError | None = None
    current: Item | None = None
    cursor: Cursor | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One content, current or kept: where its bytes are (`digest`), and what to say of it.

    `name` is of the file that has it now; None when the file is gone or has other content since. Nothing is stored for
    `size_bytes` 0: do not ask the content store for it. `mime` is of the name it has, or had when it came.
    """

    name: str | None
    digest: bytes
    size_bytes: int
    version: Version
    md5: str
    mime: str


class Column(Enum):
    """What a listing is sorted by; equal rows by name. Names compare byte by byte."""

    NAME = "name"
    MTIME = "mtime"
    SIZE = "size"


class Items(Protocol):
    """Items of one folder, each handed out once. A long listing reads on from the database while it is consumed, in
    any thread but one at a time: consume it whole, or close it. Short ones hold nothing."""

    def __iter__(self) -> Iterator[Item]: ...

    def __next__(self) -> Item: ...

    def close(self) -> None:
        """Idempotent; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class FolderPage:
    """A folder's rows, or a window of them. `start` is the index of the first item, `stop` that after the last, and
    `total` counts all rows; both are None where no window was asked for, since counting reads the whole folder's
    index. `cursor` is a moment not later than the first row."""

    name: str
    total: int | None
    start: int
    stop: int | None
    items: Items
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    password_hash: str
    email: str
    quota_bytes: int | None
    created_ns: int


@dataclass(frozen=True, slots=True)
class Session:
    """`user` is None before login. `csrf` is the token of its forms."""

    user: int | None
    user_name: str | None
    csrf: str
    created_ns: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Expired:
    """What `Metadata.expire` dropped. `digests` may be deleted from the content store, as `metadata.expiry` says."""

    digests: tuple[bytes, ...]
    versions: int
    nodes: int
    answers: int
    sessions: int
    changes: int
