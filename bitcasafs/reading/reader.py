"""One reader of one content: answers reads from the block store, and from chunks that are fetched ahead by `window`'s
policy.

Concurrency: chunks are fetched by tasks of the nursery that the owner gives; several reads may wait at once. Every
byte comes from the one `ContentRef` that the reader was made with. Memory: at most `KEPT` chunks of at most
`window.LARGEST_BYTES`, and those that reads wait for at this moment; a chunk that is let go is fetched no further.
"""

from __future__ import annotations

import logging
import math

import trio

from bitcasafs.errors import BitcasaError, Truncated, Unavailable
from bitcasafs.reading.block_map import BLOCK_BYTES, block_length
from bitcasafs.reading.blocks import Blocks
from bitcasafs.reading.window import FIRST_BYTES, Window
from bitcasafs.remote.interface import ContentRef, Remote

log = logging.getLogger(__name__)

FAILED_SECONDS = 1.0
"""After a fetch that failed, reads of what is not here fail at once for so long: the kernel asks for the rest of what
one read(2) wanted two requests at a time, and would wait for each in turn (27 s instead of 3 for 1 MB, measured)."""

KEPT = 3
"""The one being read, the one behind (the kernel's requests arrive out of order), the one fetched ahead."""


class Chunk:
    """Bytes [start, stop) on their way: `data` grows from the left."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.data = bytearray()
        self.error: BitcasaError | None = None
        self.arrived = trio.Event()
        self.scope = trio.CancelScope()
        self.waiting = 0
        """Reads that wait for it: it is not let go under them."""
        self.has_grown_window = False
        """Once for each chunk, however many reads wait for it."""

    def add(self, offset: int, data: bytes) -> None:
        """A `remote.interface.Sink`; an offset before the end is a repeat."""
        have = self.start + len(self.data)
        if offset > have:
            raise RuntimeError("a fetch left a gap")
        self.data += data[have - offset :]
        self._tell()

    def fail(self, error: BitcasaError) -> None:
        self.error = error
        self._tell()

    def _tell(self) -> None:
        self.arrived.set()
        self.arrived = trio.Event()

    def part(self, start: int, stop: int) -> bytes:
        return bytes(memoryview(self.data)[start - self.start : stop - self.start])

    @property
    def reached(self) -> int:
        return self.start + len(self.data)


class Reader:
    def __init__(
        self, remote: Remote, content: ContentRef, nursery: trio.Nursery, blocks: Blocks | None = None
    ) -> None:
        """`blocks`: where what was read is kept; None: nowhere."""
        self._remote = remote
        self._content = content
        self._nursery = nursery
        self._chunks: list[Chunk] = []
        """Oldest first."""
        self._kept = KEPT
        self._window = Window()
        self._failed: Unavailable | None = None
        self._failed_until = -math.inf
        self._lease = None if blocks is None else blocks.lease(content)

    async def read(self, start: int, stop: int) -> bytes:
        """[start, stop), cut at the end of the content. Waits for the network, unless it is kept here; raises as
        `Remote.fetch`."""
        stop = min(stop, self._content.size_bytes)
        if start >= stop:
            return b""
        self._window = self._window.seen(start, stop)
        pieces: list[bytes] = []
        position = start
        while position < stop:
            piece = self._from_blocks(position, stop)
            if not piece:
                chunk = self._chunk_at(position, stop)
                upper = min(stop, chunk.stop)
                await self._wait(chunk, upper)
                piece = chunk.part(position, upper)
            pieces.append(piece)
            position += len(piece)
        self._look_ahead(stop)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Stop what is being fetched. A read that still waits gets its bytes; what it waited for ends after it."""
        self._kept = 0
        self._let_go()
        if self._lease is not None:
            self._lease.close()

    @property
    def held_bytes(self) -> int:
        """What is in memory of it."""
        return sum(len(chunk.data) for chunk in self._chunks)

    def _from_blocks(self, start: int, stop: int) -> bytes:
        """What of it is kept, from `start` on; none of it when a chunk has it in memory, where it costs no read."""
        if self._lease is None or any(chunk.start <= start < chunk.reached for chunk in self._chunks):
            return b""
        return self._lease.read(start, stop)

    async def _wait(self, chunk: Chunk, upto: int) -> None:
        if chunk.reached < upto and chunk.error is None and not chunk.has_grown_window:
            grown = self._window.grown()
            chunk.has_grown_window, self._window = grown != self._window, grown
        chunk.waiting += 1
        try:
            while chunk.reached < upto:
                if chunk.error is not None:
                    if chunk in self._chunks:  # the next read asks again
                        self._chunks.remove(chunk)
                    if isinstance(chunk.error, Unavailable):
                        self._failed, self._failed_until = chunk.error, trio.current_time() + FAILED_SECONDS
                    raise chunk.error
                await chunk.arrived.wait()
        finally:
            chunk.waiting -= 1
            self._let_go(but=chunk if self._kept else None)

    def _chunk_at(self, position: int, stop: int) -> Chunk:
        for chunk in self._chunks:
            if chunk.start <= position < chunk.stop:
                if chunk.error is None or chunk.reached >= min(stop, chunk.stop):
                    return chunk
                self._chunks.remove(chunk)  # fetched ahead in vain, while nobody waited: ask again
                break
        if self._failed is not None and trio.current_time() < self._failed_until:
            raise self._failed
        return self._begin(position, max(stop, position + self._window.size_bytes))

    def _begin(self, start: int, stop: int) -> Chunk:
        stop = min(self._with_whole_blocks(start, stop), self._content.size_bytes)
        following = [chunk.start for chunk in self._chunks if chunk.start > start]
        chunk = Chunk(start, min([stop, *following]))
        self._chunks.append(chunk)
        self._let_go(but=chunk)
        self._nursery.start_soon(self._fetch, chunk)
        return chunk

    def _with_whole_blocks(self, start: int, stop: int) -> int:
        """Where a fetch of [start, stop) ends: before a block that is kept; of a large one at the end of a block, so
        that the next one begins with a whole block. A small one, of a random reader, stays small."""
        if self._lease is None:
            return stop
        if stop - start >= FIRST_BYTES:
            stop = -(-stop // BLOCK_BYTES) * BLOCK_BYTES
        first, last = self._lease.missing(start, stop)
        return last if first == start else stop

    def _let_go(self, but: Chunk | None = None) -> None:
        """Forget the oldest chunks that nobody waits for, as long as there are too many."""
        excess = len(self._chunks) - self._kept
        if excess <= 0:
            return
        spare = [chunk for chunk in self._chunks if not chunk.waiting and chunk is not but]
        for chunk in spare[:excess]:
            chunk.scope.cancel()
            self._chunks.remove(chunk)

    def _look_ahead(self, position: int) -> None:
        """A sequential reader past the middle of a chunk gets the next one before it asks."""
        if not self._window.sequential or not self._kept:
            return
        current = next((chunk for chunk in self._chunks if chunk.start < position <= chunk.stop), None)
        if current is None or position < (current.start + current.stop) // 2:
            return
        ahead = current.stop
        if self._lease is not None:
            ahead, last = self._lease.missing(ahead, ahead + self._window.size_bytes)
            if ahead == last:
                return
        if ahead < self._content.size_bytes and not any(chunk.start <= ahead < chunk.stop for chunk in self._chunks):
            self._begin(ahead, ahead + self._window.size_bytes)

    async def _fetch(self, chunk: Chunk) -> None:
        with chunk.scope:
            try:
                await self._remote.fetch(
                    self._content, chunk.start, chunk.stop, lambda *piece: self._add(chunk, *piece)
                )
                if self._is_whole(chunk):
                    self._keep(chunk, chunk.start)
                if chunk.reached < chunk.stop:
                    chunk.fail(Truncated("the portal sent less than it announced"))
            except BitcasaError as error:
                chunk.fail(error)
            except Exception:
                log.exception("a fetch failed")
                chunk.fail(BitcasaError("an internal error while reading; the log has the details"))

    # --- what arrives is kept -------------------------------------------------------------------------------------

    def _add(self, chunk: Chunk, offset: int, data: bytes) -> None:
        before = chunk.reached
        chunk.add(offset, data)
        if not self._is_whole(chunk):
            self._keep(chunk, before)

    def _is_whole(self, chunk: Chunk) -> bool:
        """All of the content in one piece: its digest is compared after the last byte (ChecksumMismatch)."""
        return chunk.stop - chunk.start == self._content.size_bytes

    def _keep(self, chunk: Chunk, before: int) -> None:
        """Store the blocks that are whole with what arrived from `before` on."""
        if self._lease is None:
            return
        for index in range(before // BLOCK_BYTES, -(-chunk.reached // BLOCK_BYTES)):
            if not self._lease.has(index):
                start = index * BLOCK_BYTES
                data = self._arrived(chunk, start, start + block_length(index, self._content.size_bytes))
                if data:
                    self._lease.store(index, data)

    def _arrived(self, chunk: Chunk, start: int, stop: int) -> bytes:
        """[start, stop) from the chunk and its neighbours, which may share a block; nothing while a byte is missing."""
        parts: list[tuple[Chunk, int, int]] = []
        while start < stop:
            source = next((one for one in (chunk, *self._chunks) if one.start <= start < one.reached), None)
            if source is None:
                return b""
            parts.append((source, start, min(stop, source.reached)))
            start = source.reached
        return b"".join(source.part(*bounds) for source, *bounds in parts)
