"""What was written into a staged file since it was sealed, in a file beside it: for content over a base that is not
here, a mount that was killed must know which bytes are the user's and which are holes.

Append-only, 16 bytes an entry (two unsigned 64-bit numbers, little-endian): `start < stop` says that [start, stop) is
in the staged file, `start, 0` that all from `start` on was cut off. Read again from the beginning over what the record
says, entries give what there was: those that were sealed already change nothing. Half an entry at the end is none.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from bitcasafs.writing.descriptors import Descriptors
from bitcasafs.writing.ranges import Ranges

_ENTRY = struct.Struct("<QQ")


def map_path(staged: Path) -> Path:
    """`00000012.map letter.odt` for `00000012 letter.odt`: a name that no staged file has."""
    return staged.with_name(staged.name.replace(" ", ".map ", 1))


def is_map(name: str) -> bool:
    return name.split(" ", 1)[0].endswith(".map")


def staged_name(name: str) -> str:
    """Of a staged file itself, or of the one that a map stands beside."""
    return name.replace(".map ", " ", 1) if is_map(name) else name


class WrittenMap:
    """Appends. Not synced: it must survive this process, not the machine (a seal writes it into the outbox)."""

    def __init__(self, descriptors: Descriptors, path: Path, *, new: bool) -> None:
        """`new`: make the file. FileExistsError, FileNotFoundError."""
        self._descriptors = descriptors
        self._path = path
        if new:
            descriptors.create(path)
        self._length = os.fstat(descriptors.of(path)).st_size // _ENTRY.size * _ENTRY.size

    def wrote(self, start: int, stop: int) -> None:
        """OSError: it is not noted; what is appended later is."""
        self._append(start, stop)

    def cut(self, size: int) -> None:
        self._append(size, 0)

    def _append(self, first: int, second: int) -> None:
        entry = _ENTRY.pack(first, second)
        if os.pwrite(self._descriptors.of(self._path), entry, self._length) == len(entry):
            self._length += len(entry)
        else:  # the disk is full in the middle of an entry: once more for the reason
            os.pwrite(self._descriptors.of(self._path), entry, self._length)
            self._length += len(entry)

    def close(self) -> None:
        self._descriptors.end(self._path)


def replayed(path: Path, base_limit: int, written: Ranges) -> tuple[int, Ranges]:
    """What counts of the base, and what was written, after the entries of `path`; a missing file has none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return base_limit, written
    for start, stop in _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]):
        if start < stop:
            written.add(start, stop)
        else:
            base_limit = min(base_limit, start)
            written.cut(start)
    return base_limit, written
