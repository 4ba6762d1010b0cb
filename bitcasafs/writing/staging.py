"""Content that is not on the portal yet: one file on this disk for each node that was written to.

A staged file lies over a base (the version that was open, empty for a new file): what was written is in the file, what
was not is a hole, and a hole before `base_limit` reads as the base, one behind it as zeros. `StagedFile` does local
I/O only and blocks for as long as a page-cache write takes (a thread hop of 110 us costs more than a 128 KiB
pwrite); the caller fetches holes and calls `fill`. The file on the disk is always exactly `size_bytes` long.

Names are readable on purpose: whoever looks into the folder after an accident finds `00000012 letter.odt`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import trio

from bitcasafs.atomic import sync_file, sync_folder
from bitcasafs.errors import ConfigError, NoSpace
from bitcasafs.writing.descriptors import Descriptors
from bitcasafs.writing.ranges import Ranges
from bitcasafs.writing.written_map import WrittenMap, is_map, map_path

COPY_BYTES = 64 << 20
"""Most that one system call copies."""
_FICLONE = 0x40049409
"""linux/fs.h: ioctl(2) of XFS, btrfs, bcachefs and others."""
_CANNOT_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""File systems without copy_file_range, and kernels that have it in name only."""


@contextlib.contextmanager
def told_of_space() -> Iterator[None]:
    """Turn a full disk or quota of this machine into NoSpace."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"the disk of the staging folder is full ({error.strerror})") from None
        raise


class StagedFile:
    """One staged content. Not safe for threads. `Staging` makes them."""

    def __init__(
        self,
        descriptors: Descriptors,
        path: Path,
        size_bytes: int,
        base_limit: int,
        written: Ranges,
        written_map: WrittenMap | None,
    ) -> None:
        """Of a file that is there. `written_map`: where a file with holes notes what is written."""
        self._descriptors = descriptors
        self._map = written_map
        self._kept = False
        self.path = path
        self.size_bytes = size_bytes
        self.base_limit = base_limit
        self.written = written
        self.whole = not written.holes(0, base_limit)
        """False while a hole must be read from the base."""

    @property
    def name(self) -> str:
        return self.path.name

    def write(self, offset: int, data: bytes) -> int:
        """Write `data` at `offset`; answers how much of it: less only when the disk became full in the middle.
        NoSpace: nothing.
        """
        if not data:
            return 0
        descriptor = self._descriptors.of(self.path)
        done = 0
        try:
            with told_of_space():
                while done < len(data):
                    done += os.pwrite(descriptor, data[done:] if done else data, offset + done)
        except (OSError, NoSpace):
            if not done:
                raise
        stop = offset + done
        if not self.whole:
            self._note(offset, stop)
        self.size_bytes = max(self.size_bytes, stop)
        return done

    def _note(self, start: int, stop: int) -> None:
        """Bytes were written: they are no hole any more, also after a kill. NoSpace: they are not counted."""
        if self._map is not None and start < self.base_limit:
            try:
                with told_of_space():
                    self._map.wrote(start, stop)
            except (OSError, NoSpace):
                os.ftruncate(self._descriptors.of(self.path), self.size_bytes)
                raise
        self.written.add(start, stop)

    def truncate(self, size_bytes: int) -> None:
        """Cut or extend with zeros. NoSpace: nothing changed."""
        with told_of_space():
            if self._map is not None and size_bytes < self.base_limit:
                self._map.cut(size_bytes)
            os.ftruncate(self._descriptors.of(self.path), size_bytes)
        self.base_limit = min(self.base_limit, size_bytes)
        self.written.cut(size_bytes)
        self.size_bytes = size_bytes
        self.note_whole()

    def read(self, start: int, stop: int) -> bytes:
        """[start, stop) cut at the end of the file; what is a hole over the base reads as zeros: see `holes`."""
        stop = min(stop, self.size_bytes)
        if start >= stop:
            return b""
        return os.pread(self._descriptors.of(self.path), stop - start, start)

    def holes(self, start: int, stop: int) -> list[tuple[int, int]]:
        """What of [start, stop) must come from the base."""
        if self.whole:
            return []
        return self.written.holes(start, min(stop, self.base_limit))

    def fill(self, offset: int, data: bytes) -> None:
        """Bytes of the base arrived: put them where nothing was written meanwhile. NoSpace: some are not there."""
        for start, stop in self.holes(offset, offset + len(data)):
            position = start
            with told_of_space():
                while position < stop:
                    piece = data[position - offset : stop - offset]
                    position += os.pwrite(self._descriptors.of(self.path), piece, position)
            self.written.add(start, stop)
        self.note_whole()

    def note_whole(self) -> None:
        """Look whether a hole is left."""
        if not self.whole and not self.written.holes(0, self.base_limit):
            self.whole = True
            if self._map is not None and self.base_limit:  # what is written from here on is not noted any more
                with contextlib.suppress(OSError):
                    self._map.wrote(0, self.base_limit)
                    return
                self.whole = False

    async def sync(self) -> None:
        """fsync(2) of the file, of the map beside it, and of their names, in a thread."""
        with self._descriptors.pinned(self.path) as descriptor:
            await trio.to_thread.run_sync(_sync, descriptor, self.path)

    def lose_name(self) -> None:
        """The file is about to be unlinked: it lives on until `close`, and needs no map."""
        self._descriptors.keep(self.path)
        self._kept = True
        if self._map is not None:
            self._map.close()
            self._map = None

    def close(self) -> None:
        """Idempotent, but for a file that lost its name."""
        if self._map is not None:
            self._map.close()
        if self._kept:
            self._descriptors.end_kept(self.path)
        else:
            self._descriptors.end(self.path)


class Staging:
    """The folder of staged files, 0700. Makes, opens and removes them; which are needed the outbox knows."""

    def __init__(self, folder: Path) -> None:
        """ConfigError: it cannot be made, or not be read."""
        self._folder = folder
        self._descriptors = Descriptors()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.listdir(folder)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be used: {error.strerror}. Content that was not sent yet is kept there: look at its "
                "owner and permissions, and the disk"
            ) from None

    @property
    def folder(self) -> Path:
        return self._folder

    def create(self, serial: int, name: str, *, size_bytes: int = 0, base_limit: int = 0) -> StagedFile:
        """A new staged file, its holes all of `base_limit`; its name is made unique by `serial` or a number above it,
        and readable by `name`. NoSpace.
        """
        with told_of_space():
            path = self._new(serial, name)
            try:
                if size_bytes:
                    os.ftruncate(self._descriptors.of(path), size_bytes)
                return self._staged(path, size_bytes, base_limit, Ranges(), new=True)
            except BaseException:
                self.remove(path.name)
                raise

    def _new(self, serial: int, name: str) -> Path:
        while True:
            path = self.path(serial, name)
            try:
                self._descriptors.create(path)
                return path
            except FileExistsError:
                serial += 1

    def _staged(self, path: Path, size_bytes: int, base_limit: int, written: Ranges, *, new: bool) -> StagedFile:
        written_map = None
        if base_limit:
            beside = map_path(path)
            written_map = WrittenMap(self._descriptors, beside, new=new or not beside.exists())
        return StagedFile(self._descriptors, path, size_bytes, base_limit, written, written_map)

    async def copy(self, original: StagedFile, serial: int, name: str) -> StagedFile:
        """The same content in another file: a reflink (see `clones`) or an in-kernel copy, in a thread. The caller
        keeps writers of `original` out; that it is closed and removed meanwhile does not matter. NoSpace.
        """
        size = original.size_bytes
        copy = self.create(serial, name, base_limit=original.base_limit)
        try:
            copy.written = Ranges(original.written)
            copy.note_whole()
            with (
                self._descriptors.pinned(original.path) as source,
                self._descriptors.pinned(copy.path) as target,
            ):
                await trio.to_thread.run_sync(_copy_content, source, target, size)
        except BaseException:
            copy.close()
            self.remove(copy.name)
            raise
        copy.size_bytes = size
        return copy

    @cached_property
    def clones(self) -> bool:
        """A copy shares its blocks with the original: it is made in a moment, whatever its size."""
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
        try:
            source, target = os.open(self._folder, flags, 0o600), os.open(self._folder, flags, 0o600)
        except OSError:
            return False
        try:
            return _clone(source, target)
        finally:
            os.close(source)
            os.close(target)

    def path(self, serial: int, name: str) -> Path:
        readable = "".join(char if char.isprintable() and char != "/" else "_" for char in name)
        while len(readable.encode()) > 200:
            readable = readable[:-1]
        return self._folder / f"{serial:08d} {readable}"

    def open(self, name: str, size_bytes: int, base_limit: int, written: Ranges) -> StagedFile:
        """A staged file that an earlier mount left. FileNotFoundError when it is gone."""
        path = self._folder / name
        if not path.is_file():
            raise FileNotFoundError(path)
        return self._staged(path, size_bytes, base_limit, written, new=False)

    def remove(self, name: str) -> None:
        """Idempotent. Also what notes its holes."""
        path = self._folder / name
        for one in (path, map_path(path)):
            self._descriptors.end(one)
            one.unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Of staged files; the maps beside them do not count."""
        return {entry.name for entry in self._folder.iterdir() if not is_map(entry.name)}

    def all_names(self) -> list[str]:
        """Of everything in the folder, maps included."""
        return sorted(entry.name for entry in self._folder.iterdir())

    def close(self) -> None:
        """Every descriptor; nothing is removed."""
        self._descriptors.close()


def _clone(source: int, target: int) -> bool:
    """Make all of `target` share the blocks of `source`. False: this disk cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_content(source: int, target: int, size_bytes: int) -> None:
    """Runs in a thread."""
    if _clone(source, target):
        return
    with told_of_space():
        offset = 0
        while offset < size_bytes:
            left = min(COPY_BYTES, size_bytes - offset)
            try:
                done = os.copy_file_range(source, target, left, offset, offset)
            except OSError as error:
                if error.errno not in _CANNOT_COPY:
                    raise
                done = os.pwrite(target, os.pread(source, min(left, 1 << 20), offset), offset)
            if done == 0:
                raise OSError(errno.EIO, "a staged file is shorter than what was written")
            offset += done


def _sync(descriptor: int, path: Path) -> None:
    """Runs in a thread."""
    with told_of_space():
        os.fsync(descriptor)
        with contextlib.suppress(FileNotFoundError):
            sync_file(map_path(path))
        sync_folder(path.parent)
