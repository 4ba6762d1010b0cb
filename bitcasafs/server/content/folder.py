"""Contents in a folder, each in a file named by its sha256.

The format: `FOLDER/incoming/NAME` for what is on its way in, `FOLDER/ab/cdef...` for contents: two hex digits of the
digest name the shard, the other 62 the file. All are on one file system, so that a rename brings a content in whole.

Written in this order, and why: the file is synced before its rename (else a power cut can leave the name with a hole
behind it), the shard folder after it (else the name can be lost), and only then does the caller commit a row that names
the content. So a kill leaves a file in `incoming`, removed at the next start, or a content that no row names, which is
never served and is taken up again when the same bytes come once more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bitcasafs.atomic import make_private_folder, sync_folder
from bitcasafs.errors import NoSpace, NotFound
from bitcasafs.server.content.hashing import Hashing
from bitcasafs.server.content.interface import ContentReader, ContentWriter
from bitcasafs.server.metadata.interface import StoredContent

SYNC_THREADS = 16
"""1,000 new files of 4 KiB, ext4: one after the other 0.21 s, by 4 threads 0.12 s, by 16 0.06 s, by 64 the same
(2026-11): syncs that wait together share a commit of the file system's journal."""

SYNC_EVERY_BYTES = 64 * 1024 * 1024
"""A large content is synced on its way, so that the end of a file of many GiB on a slow disk does not keep its sender
waiting longer than it waits for an answer."""

_INCOMING = "incoming"
_SHARD = re.compile("[0-9a-f]{2}")
_REST = re.compile("[0-9a-f]{62}")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def _full_disk_is_no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace("the disk under the content folder is full") from error
        raise


class FolderWriter:
    """One file in `incoming`. It is made at the first byte, so that nothing is left of an upload that sent none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._hashing = Hashing()
        self._finished: StoredContent | None = None
        self._unsynced = 0
        self.is_kept = False

    @property
    def size_bytes(self) -> int:
        return self._hashing.size_bytes

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        assert self._finished is None, "written after its end"
        with _full_disk_is_no_space(), memoryview(piece) as view:
            descriptor = self._open()
            written = 0
            while written < len(view):
                # A write to a disk that fills up is short before it fails.
                written += os.write(descriptor, view[written:])
            self._hashing.update(view)
            self._unsynced += len(view)
            if self._unsynced >= SYNC_EVERY_BYTES:
                os.fdatasync(descriptor)
                self._unsynced = 0

    def finish(self) -> StoredContent:
        if self._finished is None:
            with _full_disk_is_no_space():
                os.close(self._open())
            self._descriptor = None
            self._finished = self._hashing.content()
        return self._finished

    def discard(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if not self.is_kept:
            self.path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
        return self._descriptor


class FolderReader:
    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._size_bytes = os.fstat(descriptor).st_size

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def read_at_once(self, start: int, stop: int) -> bytes:
        # A pread from memory takes 50 us for 256 KiB, a thread 110 us more; from a disk it would hold up everybody.
        # RWF_NOWAIT reads what is in memory and says EAGAIN for what is not; some file systems do not know it.
        piece = bytearray(stop - start)
        try:
            count = os.preadv(self._opened(), [piece], start, os.RWF_NOWAIT)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            return b""
        return bytes(memoryview(piece)[:count])

    def read(self, start: int, stop: int) -> bytes:
        pieces = []
        while start < stop:
            piece = os.pread(self._opened(), stop - start, start)
            if not piece:
                raise OSError(errno.EIO, "a stored content is shorter than it was")
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        assert self._descriptor is not None, "read after its end"
        return self._descriptor


class FolderContentStore:
    """Everything that threads share is in the file system. `open_folder` makes one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / _INCOMING
        self._syncers = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")

    @classmethod
    def open_folder(cls, folder: Path) -> FolderContentStore:
        """Make the folder where it is missing, and clear away what a killed server left of uploads.

        The caller holds the lock of the data folder: another server's uploads would be cleared away too. ConfigError
        for a folder that others can read.
        """
        make_private_folder(folder)
        incoming = folder / _INCOMING
        incoming.mkdir(mode=0o700, exist_ok=True)
        for left in incoming.iterdir():
            left.unlink()
        if not (folder / "ff").exists():
            for shard in range(256):
                (folder / f"{shard:02x}").mkdir(mode=0o700, exist_ok=True)
            sync_folder(folder)
        return cls(folder)

    def writer(self) -> FolderWriter:
        return FolderWriter(self._incoming / secrets.token_hex(16))

    def keep(self, writers: Sequence[ContentWriter]) -> Sequence[StoredContent]:
        ours = [writer for writer in writers if isinstance(writer, FolderWriter)]
        assert len(ours) == len(writers), "writers of another store"
        kept = [writer.finish() for writer in ours]
        with _full_disk_is_no_space():
            if len(ours) == 1:
                self._bring_in(ours[0])
                sync_folder(self._path(kept[0].digest).parent)
                return kept
            for _ in self._syncers.map(self._bring_in, ours):
                pass
            for _ in self._syncers.map(sync_folder, {self._path(content.digest).parent for content in kept}):
                pass
        return kept

    def open(self, digest: bytes) -> ContentReader:
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"no content has the digest {digest.hex()}") from None
        return FolderReader(descriptor)

    def remove(self, digest: bytes) -> None:
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[bytes]:
        # What else people and their tools leave in a folder is not ours to judge.
        for shard in sorted(self._folder.iterdir()):
            if _SHARD.fullmatch(shard.name):
                for path in shard.iterdir():
                    if _REST.fullmatch(path.name):
                        yield bytes.fromhex(shard.name + path.name)

    def close(self) -> None:
        self._syncers.shutdown()

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        assert len(name) == 64, "not a sha256"
        return self._folder / name[:2] / name[2:]

    def _bring_in(self, writer: FolderWriter) -> None:
        content = writer.finish()
        path = self._path(content.digest)
        if _is_there(path, content.size_bytes):
            writer.discard()
            return
        descriptor = os.open(writer.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(writer.path, path)
        writer.is_kept = True


def _is_there(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False
