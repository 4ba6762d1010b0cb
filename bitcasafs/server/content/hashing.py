"""The two digests of a content, made while it passes: sha256 names it in the store, md5 is what the wire tells."""

from __future__ import annotations

import hashlib

from bitcasafs.server.metadata.interface import StoredContent


class Hashing:
    """Counts and hashes pieces. hashlib frees the interpreter lock for pieces over 2 KiB: threads run side by side."""

    __slots__ = ("_md5", "_sha256", "size_bytes")

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        self._sha256.update(piece)
        self._md5.update(piece)
        self.size_bytes += len(piece)

    def content(self) -> StoredContent:
        return StoredContent(digest=self._sha256.digest(), size_bytes=self.size_bytes, md5=self._md5.hexdigest())
