"""One content on its way from a request into the store: gathered into pieces, hashed and written in threads.

While one piece is hashed and written, the next is received: md5 alone takes longer than receiving, and lets go of the
interpreter lock meanwhile. At most two pieces of a content are in memory.
"""

from __future__ import annotations

import asyncio

from bitcasafs.server.content.interface import ContentWriter
from bitcasafs.server.metadata.interface import EMPTY_MD5, EMPTY_SHA256, StoredContent
from bitcasafs.server.portal import Portal

PIECE_BYTES = 256 * 1024

EMPTY = StoredContent(digest=EMPTY_SHA256, md5=EMPTY_MD5, size_bytes=0)
"""Nothing is stored for it."""


class Incoming:
    """Used by one task. `discard` must be called at the end, whatever happened."""

    def __init__(self, portal: Portal) -> None:
        self._threads = portal.threads
        self._pending: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self.pending_bytes = 0
        """Received and still in memory."""
        self.size_bytes = 0
        self.writer: ContentWriter = portal.contents.writer()

    def take(self, data: bytes) -> None:
        """Keep `data` in memory for now."""
        self._pending.append(data)
        self.pending_bytes += len(data)
        self.size_bytes += len(data)

    async def write(self, data: bytes) -> None:
        """Take `data`, and hand on what has become a piece. NoSpace."""
        self.take(data)
        if self.pending_bytes >= PIECE_BYTES:
            await self.settle()
            pieces, self._pending, self.pending_bytes = self._pending, [], 0
            self._writing = asyncio.create_task(self._threads.content(_write, self.writer, pieces))

    async def settle(self) -> None:
        """Wait for the piece that is being written. NoSpace."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    def finish(self) -> StoredContent:
        """Blocks: hash and write what is left. After `settle`, in a thread."""
        assert self._writing is None, "a piece is still being written"
        _write(self.writer, self._pending)
        self._pending, self.pending_bytes = [], 0
        return self.writer.finish() if self.size_bytes else EMPTY

    async def discard(self) -> None:
        """Leave nothing of what was not kept; never raises for a write that failed before."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await asyncio.wait([writing])
        self._pending = []
        self.writer.discard()


def _write(writer: ContentWriter, pieces: list[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
