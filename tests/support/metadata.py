"""A drive in the server's metadata as tests speak of it: names and bytes in, names and bytes out.

The content store is absent on purpose: `Scene` gives metadata the digests of bytes, and remembers the bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitcasafs.errors import BitcasaError
from bitcasafs.server.metadata import Metadata
from bitcasafs.server.metadata.interface import Applied, Request, StoredContent
from bitcasafs.values.items import Address, AttributeChange, Item
from bitcasafs.values.operations import Delete, Made, Mkdir, Move, OnExisting, Operation, Place, Put, Symlink

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class HandClock:
    """A clock that a test moves by hand; each look takes a microsecond, so that no two moments are equal."""

    now_ns: int = START_NS

    def wall_ns(self) -> int:
        self.now_ns += 1_000
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / SECOND_NS

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)


def stored(data: bytes) -> StoredContent:
    """What the content store would say after it has stored these bytes."""
    return StoredContent(hashlib.sha256(data).digest(), hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))


def request(operation: Operation, data: bytes | None = None) -> Request:
    """With a fingerprint as a server would make it: of the operation without its key, and of the content."""
    fields = {name: getattr(operation, name) for name in operation.__slots__ if name != "key"}
    digest = hashlib.sha256(repr((type(operation).__name__, fields)).encode() + (data or b""))
    return Request(operation, None if data is None else stored(data), digest.hexdigest())


@dataclass(slots=True)
class Scene:
    """One user of an open `Metadata`, and short words for what users do. Failures are raised."""

    metadata: Metadata
    clock: HandClock
    user: int
    root: Address = field(init=False)
    contents: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = Address(self.metadata.drive_path(self.user))

    def apply(self, *operations: tuple[Operation, bytes | None] | Operation, **options: Any) -> list[Applied]:
        pairs = [one if isinstance(one, tuple) else (one, None) for one in operations]
        for _, data in pairs:
            if data is not None:
                self.contents[hashlib.sha256(data).digest()] = data
        return list(self.metadata.apply(self.user, [request(*pair) for pair in pairs], **options))

    def do(self, operation: Operation, data: bytes | None = None, **options: Any) -> Applied:
        """One operation that must succeed; else its error is raised."""
        applied = self.apply((operation, data), **options)[0]
        if applied.error is not None:
            raise applied.error
        return applied

    def at(self, path: str) -> Address:
        """By names below the drive: `a/b`."""
        return Address("/".join([self.root.path, *(name for name in path.split("/") if name)]))

    def split(self, path: str) -> tuple[Address, str]:
        folder, _, name = path.rpartition("/")
        return self.at(folder), name

    def mkdir(self, path: str, **fields: Any) -> Item:
        return _item(self.do(Mkdir(*self.split(path), **fields)))

    def put(self, path: str, data: bytes = b"data", **fields: Any) -> Item:
        return _item(self.do(Put(*self.split(path), len(data), **fields), data))

    def overwrite(self, path: str, data: bytes, **fields: Any) -> Item:
        return self.put(path, data, exists=OnExisting.OVERWRITE, **fields)

    def symlink(self, path: str, text: str, **fields: Any) -> Item:
        return _item(self.do(Symlink(*self.split(path), text, **fields)))

    def move(self, path: str, to: str, **fields: Any) -> Item:
        return _item(self.do(Move(self.at(path), *self.split(to), **fields)))

    def delete(self, path: str, **fields: Any) -> None:
        assert self.do(Delete(self.at(path), **fields)).item is None

    def find(self, path: str) -> Item:
        return self.metadata.find(self.user, self.at(path))

    def read(self, path: str) -> bytes:
        """The bytes of the file at a path, through its id, as a download does."""
        file_id = self.find(path).id
        assert file_id is not None
        return self.fetch(file_id)

    def fetch(self, file_id: str, version: str | None = None) -> bytes:
        found = self.metadata.content(self.user, file_id, version)
        return self.contents[found.digest] if found.size_bytes else b""

    def items(self, path: str = "") -> list[Item]:
        return list(self.metadata.list_folder(self.user, self.at(path)).items)

    def names(self, path: str = "") -> list[str]:
        return [item.name for item in self.items(path)]

    def tree(self, path: str = "") -> dict[str, bytes | None]:
        """Every path below, with its bytes; None for folders."""
        found: dict[str, bytes | None] = {}
        for item in self.items(path):
            below = f"{path}/{item.name}" if path else item.name
            if item.is_folder:
                found[below] = None
                found |= self.tree(below)
            else:
                assert item.id is not None
                found[below] = self.fetch(item.id)
        return found


def open_scene(path: Path, clock: HandClock, **account: Any) -> Scene:
    """A new database in the folder `path`, with one user."""
    metadata = Metadata.open(f"sqlite:///{path}/metadata.db", clock=clock)
    return Scene(metadata, clock, metadata.add_user("anna", "$argon2id$x", **account))


def failure(applied: Applied) -> type[BitcasaError] | None:
    return None if applied.error is None else type(applied.error)


def mode(bits: int, **more: Any) -> AttributeChange:
    return AttributeChange({"mode": bits, **more})


__all__ = ["HandClock", "Made", "Place", "Scene", "failure", "mode", "open_scene", "request", "stored"]


def _item(applied: Applied) -> Item:
    assert applied.item is not None
    return applied.item
