"""A remote that holds contents by id, counts what is fetched and answers in small pieces; a mount's readers over it."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bitcasafs.errors import BitcasaError
from bitcasafs.reading.blocks import Blocks, Lease
from bitcasafs.reading.eviction import Limits
from bitcasafs.reading.reader import Reader
from bitcasafs.remote.interface import ContentRef, Sink
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive

PIECE_BYTES = 48 << 10
"""No divisor of a block."""
PLENTY = Limits(keep_free_bytes=0)


class ReadPortal(MemoryRemote):
    """`error` is raised at the end of the next fetches, after all their bytes."""

    def __init__(self) -> None:
        super().__init__(MemoryDrive())
        self.held: dict[str, bytes] = {}
        self.fetches: list[tuple[str, int, int]] = []
        self.error: BitcasaError | None = None

    def add(self, id_: str, size_bytes: int, seed: int = 0) -> ContentRef:
        self.held[id_] = random.Random(f"{id_} {seed}").randbytes(size_bytes)
        return ContentRef(id_, size_bytes)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        self.fetches.append((content.id, start, stop))
        for offset in range(start, stop, PIECE_BYTES):
            await trio.lowlevel.checkpoint()
            sink(offset, self.held[content.id][offset : min(stop, offset + PIECE_BYTES)])
        if self.error is not None:
            raise self.error

    @property
    def fetched_bytes(self) -> int:
        return sum(stop - start for _, start, stop in self.fetches)


class BlockMount:
    """The reading side of one mount: a store and readers over it."""

    def __init__(self, portal: ReadPortal, blocks: Blocks | None, nursery: trio.Nursery) -> None:
        self.portal, self._blocks, self._nursery = portal, blocks, nursery

    @property
    def blocks(self) -> Blocks:
        assert self._blocks is not None
        return self._blocks

    def reader(self, content: ContentRef) -> Reader:
        return Reader(self.portal, content, self._nursery, self._blocks)

    def lease(self, content: ContentRef) -> Lease:
        return self.blocks.lease(content)

    async def read(self, content: ContentRef, request_bytes: int = 128 << 10) -> bytes:
        """All of it, as the kernel reads, and checked against what the portal holds."""
        reader = self.reader(content)
        try:
            data = b""
            while len(data) < content.size_bytes:
                piece = await reader.read(len(data), len(data) + request_bytes)
                assert piece
                data += piece
        finally:
            reader.close()
        assert data == self.portal.held[content.id]
        return data


@asynccontextmanager
async def block_mount(
    portal: ReadPortal, folder: Path | None, limits: Limits = PLENTY, now_ns: int | None = None
) -> AsyncIterator[BlockMount]:
    """A mount's life. `now_ns`: what its clock says all the time. Leaving it ends the fetches and closes the store."""
    if folder is None:
        blocks = None
    elif now_ns is None:
        blocks = Blocks(folder, limits)
    else:
        blocks = Blocks(folder, limits, now_ns=lambda: now_ns)
    try:
        async with trio.open_nursery() as nursery:
            yield BlockMount(portal, blocks, nursery)
            nursery.cancel_scope.cancel()
    finally:
        if blocks is not None:
            blocks.close()


def disk_bytes(folder: Path) -> int:
    """What all files below `folder` take of the disk."""
    return sum(
        os.lstat(os.path.join(where, name)).st_blocks * 512 for where, _, names in os.walk(folder) for name in names
    )


def store_files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*{ending}"))
