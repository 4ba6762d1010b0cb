"""Contents in memory: a real store under the same contract, for tests. Nothing survives the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from bitcasafs.errors import NotFound
from bitcasafs.server.content.hashing import Hashing
from bitcasafs.server.content.interface import ContentReader, ContentWriter
from bitcasafs.server.metadata.interface import StoredContent


class MemoryWriter:
    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._hashing = Hashing()

    @property
    def size_bytes(self) -> int:
        return self._hashing.size_bytes

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        self._hashing.update(piece)
        self._pieces.append(bytes(piece))

    def finish(self) -> StoredContent:
        return self._hashing.content()

    def discard(self) -> None:
        self._pieces.clear()

    def joined(self) -> bytes:
        return b"".join(self._pieces)


class MemoryReader:
    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size_bytes(self) -> int:
        return len(self._content)

    def read_at_once(self, start: int, stop: int) -> bytes:
        return self._content[start:stop]

    def read(self, start: int, stop: int) -> bytes:
        return self._content[start:stop]

    def close(self) -> None:
        pass


class MemoryContentStore:
    """One lock round a dictionary: the only state that threads share."""

    def __init__(self) -> None:
        self._contents: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def writer(self) -> MemoryWriter:
        return MemoryWriter()

    def keep(self, writers: Sequence[ContentWriter]) -> Sequence[StoredContent]:
        kept = []
        for writer in writers:
            assert isinstance(writer, MemoryWriter)
            content = writer.finish()
            with self._lock:
                self._contents.setdefault(content.digest, writer.joined())
            kept.append(content)
        return kept

    def open(self, digest: bytes) -> ContentReader:
        with self._lock:
            content = self._contents.get(digest)
        if content is None:
            raise NotFound(f"no content has the digest {digest.hex()}")
        return MemoryReader(content)

    def remove(self, digest: bytes) -> None:
        with self._lock:
            self._contents.pop(digest, None)

    def digests(self) -> Iterator[bytes]:
        with self._lock:
            present = list(self._contents)
        yield from present

    def close(self) -> None:
        pass
