"""The block store: content that was read before, kept on this disk by content and range.

Who uses: `reader`, one lease a reader; `mount.compose` opens it. The store survives remounts and kills; what is damaged
is fetched again. Its size and the disk's free space are bounded by dropping whole contents (`eviction`), never one that
is leased: when only leased ones are left, what arrives is not kept. Nothing here raises to a reader: a store that
cannot be read or written is one that has nothing.

Concurrency: `Blocks(...)` reads the folder (10 ms for 1,000 contents) and belongs into a thread; all else runs on the
event loop and waits for nothing but the page cache.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bitcasafs.reading.block_file import BlockFile, Buffer
from bitcasafs.reading.block_folder import BlockFolder
from bitcasafs.reading.block_map import BLOCK_BYTES, RECORD_BYTES, content_key
from bitcasafs.reading.eviction import Idle, Limits, choose, excess_bytes
from bitcasafs.remote.interface import ContentRef

log = logging.getLogger(__name__)

MOST_OPEN = 64
"""Contents whose two descriptors stay open: 128 of the 1,024 that a process may have."""

_PAGE_BYTES = 4096
_NEW_BYTES = 2 * _PAGE_BYTES
"""What a content takes beside its blocks: its map, and an extent block of a sparse file."""
_CANDIDATES = 64
"""So many of the longest unused are weighed against each other at a time."""


@dataclass(frozen=True, slots=True)
class BlockStatistics:
    """What the store holds now, and what happened since it was opened."""

    contents: int
    leased: int
    disk_bytes: int
    limit_bytes: int
    read_bytes: int
    stored_bytes: int
    evicted_contents: int
    dropped_blocks: int
    """Arrived, but there was no room, or the disk refused."""
    damaged_blocks: int


class Lease:
    """One reader's hold on one content: as long as it is open nothing of it is evicted."""

    def __init__(self, blocks: Blocks, key: str, file: BlockFile) -> None:
        self._blocks, self._key, self._file = blocks, key, file
        self._closed = False

    def has(self, index: int) -> bool:
        """Block `index` is here, though it may turn out to be damaged."""
        return index in self._file

    def read(self, start: int, stop: int) -> bytes:
        """Bytes from `start` on as far as they are here, at most to `stop`; maybe none. What is damaged is not here."""
        if self._closed or not len(self._file):
            return b""
        return self._blocks.read(self._file, start, stop)

    def missing(self, start: int, stop: int) -> tuple[int, int]:
        """The first range of [start, stop) that is not here; empty, at `stop`, when all is."""
        first = start
        while first < stop and first // BLOCK_BYTES in self._file:
            first = (first // BLOCK_BYTES + 1) * BLOCK_BYTES
        last = first
        while last < stop and last // BLOCK_BYTES not in self._file:
            last = (last // BLOCK_BYTES + 1) * BLOCK_BYTES
        return min(first, stop), min(last, stop)

    def store(self, index: int, data: Buffer) -> None:
        """Keep one whole block, if there is room for it."""
        if not self._closed and index not in self._file:
            self._blocks.store(self._file, index, data)

    def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._blocks.release(self._key)


@dataclass(slots=True)
class _Leased:
    file: BlockFile
    leases: int = 0


@dataclass(slots=True)
class _Counts:
    read_bytes: int = 0
    stored_bytes: int = 0
    evicted: int = 0
    dropped: int = 0
    damaged: int = 0


class Blocks:
    def __init__(self, path: Path, limits: Limits | None = None, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Open or make the store in the folder `path`, and shrink it to `limits`. `now_ns`: the wall clock.

        Blocks. Locked: another process has it. ConfigError: the folder is open to others, or somebody else's. OSError.
        """
        self._limits = limits or Limits()
        self._now_ns = now_ns
        self._counts = _Counts()
        self._leased: dict[str, _Leased] = {}
        self._with_descriptors: OrderedDict[BlockFile, None] = OrderedDict()
        self._complained = False
        self._folder = BlockFolder(path)
        found = sorted(self._folder.find(), key=lambda one: one.used_ns)
        self._idle: OrderedDict[str, Idle] = OrderedDict((one.key, one) for one in found)
        """Nobody's, the longest unused first."""
        self._used_bytes = sum(one.disk_bytes for one in found)
        self._make_room(0)

    def lease(self, content: ContentRef) -> Lease:
        """Hold what is kept of `content`, and may be added. Reads its map when it is not held yet: 20 us, for 1 GiB
        7 ms."""
        key = content_key(content)
        name = key.hex()
        leased = self._leased.get(name)
        if leased is None:
            file = BlockFile(
                self._folder.stem(name), key, content.size_bytes, opened=self._note_opened, damaged=self._note_damaged
            )
            idle = self._idle.pop(name, None)
            if idle is not None:
                file.disk_bytes = idle.disk_bytes
                file.load()
                self._folder.note_used(name, self._now_ns())
            leased = self._leased[name] = _Leased(file)
        leased.leases += 1
        return Lease(self, name, leased.file)

    def statistics(self) -> BlockStatistics:
        return BlockStatistics(
            contents=len(self._idle) + sum(bool(len(one.file)) for one in self._leased.values()),
            leased=len(self._leased),
            disk_bytes=self._used_bytes,
            limit_bytes=self._limits.size_bytes,
            read_bytes=self._counts.read_bytes,
            stored_bytes=self._counts.stored_bytes,
            evicted_contents=self._counts.evicted,
            dropped_blocks=self._counts.dropped,
            damaged_blocks=self._counts.damaged,
        )

    def close(self) -> None:
        """Give the folder back. Leases that are still open have nothing from here on. Idempotent."""
        for leased in self._leased.values():
            leased.file.close()
        self._folder.close()

    # --- for leases -----------------------------------------------------------------------------------------------

    def read(self, file: BlockFile, start: int, stop: int) -> bytes:
        if not self._folder.is_open:
            return b""
        data = file.read(start, stop)
        self._counts.read_bytes += len(data)
        return data

    def store(self, file: BlockFile, index: int, data: Buffer) -> None:
        adding = -(-len(data) // _PAGE_BYTES) * _PAGE_BYTES + RECORD_BYTES + (0 if len(file) else _NEW_BYTES)
        if not self._folder.is_open or not self._make_room(adding):
            self._counts.dropped += 1
            return
        try:
            file.store(index, data)
        except OSError as error:
            self._counts.dropped += 1
            self._recount(file)
            if not self._complained:
                log.warning("What is read cannot be kept in %s: %s", self._folder.path, error.strerror or error)
                self._complained = True
            return
        self._counts.stored_bytes += len(data)
        file.disk_bytes += adding
        self._used_bytes += adding

    def release(self, key: str) -> None:
        leased = self._leased[key]
        leased.leases -= 1
        if leased.leases:
            return
        del self._leased[key]
        file = leased.file
        file.close()
        self._with_descriptors.pop(file, None)
        if not self._folder.is_open:
            return
        if not len(file) and file.disk_bytes:
            self._folder.remove(key, file.disk_bytes)
        self._recount(file)
        if len(file) and file.disk_bytes:
            now_ns = self._now_ns()
            self._folder.note_used(key, now_ns)
            self._idle[key] = Idle(key, file.disk_bytes, now_ns)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _make_room(self, adding: int) -> bool:
        """Evict until `adding` bytes more may be written. False: they may not."""
        while True:
            disk = self._folder.disk()
            if disk is None:
                return False
            excess = excess_bytes(self._used_bytes, adding, self._limits, disk)
            over = len(self._idle) + len(self._leased) - self._limits.contents
            if excess <= 0 and over <= 0:
                return True
            if not self._idle:
                return excess <= 0
            for one in choose(list(islice(self._idle.values(), _CANDIDATES)), max(excess, 1)):
                del self._idle[one.key]
                self._used_bytes -= one.disk_bytes
                self._counts.evicted += 1
                self._folder.remove(one.key, one.disk_bytes)

    def _recount(self, file: BlockFile) -> None:
        before, file.disk_bytes = file.disk_bytes, file.measure()
        self._used_bytes += file.disk_bytes - before

    def _note_opened(self, file: BlockFile) -> None:
        self._with_descriptors[file] = None
        if len(self._with_descriptors) > MOST_OPEN:
            self._with_descriptors.popitem(last=False)[0].close()

    def _note_damaged(self) -> None:
        if not self._counts.damaged:
            log.info("A block in %s is damaged and will be fetched again", self._folder.path)
        self._counts.damaged += 1
