"""Bytes to send and bytes received, for whoever tests a `Remote`."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from bitcasafs.remote.interface import ContentRef, Remote
from bitcasafs.values.items import Address, Item
from bitcasafs.values.operations import OnExisting, Put


@dataclass(frozen=True)
class BytesSource:
    """A `Source` over bytes in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= len(self.data)
        return self.data[start:stop]


def random_bytes(size_bytes: int, seed: int = 1) -> bytes:
    """The same for the same seed; nothing that a compressor or a wrong offset could hide in."""
    return random.Random(seed).randbytes(size_bytes)


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def content_of(item: Item) -> ContentRef:
    assert item.id is not None
    return ContentRef(item.id, item.size_bytes, item.version)


async def fetched(remote: Remote, item: Item, start: int = 0, stop: int | None = None) -> bytes:
    """Bytes [start, stop) of a file, checked to arrive in order and without gaps."""
    gathered = bytearray()

    def sink(offset: int, data: bytes) -> None:
        assert offset == start + len(gathered)
        gathered.extend(data)

    await remote.fetch(content_of(item), start, item.size_bytes if stop is None else stop, sink)
    return bytes(gathered)


async def stored(remote: Remote, parent: Address, name: str, data: bytes, exists: OnExisting = OnExisting.FAIL) -> Item:
    return await remote.store(Put(parent, name, len(data), exists), BytesSource(data))


async def listed(remote: Remote, folder: Address) -> dict[str, Item]:
    """By name; a name that comes twice fails."""
    items = (await remote.list(folder)).items
    by_name = {item.name: item for item in items}
    assert len(by_name) == len(items)
    return by_name
