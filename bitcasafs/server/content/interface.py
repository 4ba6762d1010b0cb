"""What keeps the bytes of files, named by what they are: one small interface, several stores.

Who implements: `content.folder`, `content.memory` (a real one, for tests). Who uses: uploads and downloads of the
server's application. A store knows neither names nor users: whether somebody may have a content is decided by the
metadata before the store is asked, and content that no row names is never served.

Contract, run on every implementation by tests/contracts/test_content_store.py:
- Everything blocks (disk, later network) and may be called from any thread; a writer is used by one thread at a time.
- A content is there whole or not at all, whatever is killed when. After `keep` returned, a power cut keeps it.
- Contents are never changed: who has one open reads it to the end, even when it is removed meanwhile.
- Raises NoSpace when the disk is full, NotFound for a content that is not there, OSError for a disk that fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from bitcasafs.server.metadata.interface import StoredContent


class ContentWriter(Protocol):
    """One content on its way in. Ended by `discard`, or by `ContentStore.keep`, which may be given many at once."""

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        ...

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Append. Costs hashing and a write of the piece, no sync: about 0.7 ms for 256 KiB."""
        ...

    def finish(self) -> StoredContent:
        """All was written; answers the digests. Frees what the writer holds open; not durable yet. Idempotent."""
        ...

    def discard(self) -> None:
        """Give up; leaves nothing. Idempotent; after `keep` it does nothing."""
        ...


class ContentReader(Protocol):
    """One content, open for reading at any place by several threads."""

    @property
    def size_bytes(self) -> int: ...

    def read_at_once(self, start: int, stop: int) -> bytes:
        """What of [start, stop) is there without waiting for the disk: a beginning of it, perhaps nothing."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """Exactly [start, stop). OSError when the disk has lost it."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class ContentStore(Protocol):
    def writer(self) -> ContentWriter: ...

    def keep(self, writers: Sequence[ContentWriter]) -> Sequence[StoredContent]:
        """Make the contents of these writers durable, together; answers what they are, in order.

        The writers are this store's own. Content that is there already is kept once. On an error none, some or all
        may be kept, and the writers that were not are still to be discarded.
        """
        ...

    def open(self, digest: bytes) -> ContentReader:
        """NotFound."""
        ...

    def remove(self, digest: bytes) -> None:
        """Forget a content; nothing when it is not there. The caller makes sure that no row names it."""
        ...

    def digests(self) -> Iterator[bytes]:
        """Of all contents, in no order; those that come or go meanwhile may or may not be among them."""
        ...

    def close(self) -> None:
        """Give back what the store holds. Idempotent."""
        ...
