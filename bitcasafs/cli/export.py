"""Copies the content of a problem out of the staging folder. The mount only tells where it lies; nothing is changed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bitcasafs.cli.columns import plain
from bitcasafs.control.changes import ContentStatus
from bitcasafs.control.client import ask_content
from bitcasafs.errors import BitcasaError
from bitcasafs.units import format_size

_PIECE_BYTES = 1 << 20


def export(socket: Path, number: int, destination: str) -> list[str]:
    """Copy the content of change `number` to a new file, or into a folder under the file's name; answers what to tell.

    Where parts of the content are not on this machine, `DEST.map` beside it says which were written: a line for each
    range, its first byte and the one behind its last. BitcasaError: there is no such content, or it is being changed.
    FileExistsError: nothing is ever overwritten. What could not be copied whole leaves nothing behind.
    """
    content = ask_content(socket, number)
    staged = Path(content.path)
    target = Path(destination)
    if target.is_dir():
        target /= staged.name.split(" ", 1)[-1]
    beside = target.with_name(f"{target.name}.map")
    with _new(target) as file:
        if content.written is None:
            _copy(content, file)
        else:
            with _new(beside) as ranges:
                ranges.write("".join(f"{start} {stop}\n" for start, stop in content.written).encode("ascii"))
                _copy(content, file)
    lines = [f"{format_size(content.size_bytes)} are in {plain(os.fspath(target))}"]
    if content.written is not None:
        missing = content.size_bytes - sum(stop - start for start, stop in content.written)
        lines.append(f"{format_size(missing)} of it were never on this machine and are zeros there;")
        lines.append(f"{plain(os.fspath(beside))} has the ranges that were written: START STOP, in bytes")
    lines.append(f"change {number} is still in the outbox: bitcasafs outbox retry or discard end it")
    return lines


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A file that was not there before, synced at the end; gone when the block fails."""
    with path.open("xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _copy(content: ContentStatus, target: BinaryIO) -> None:
    with Path(content.path).open("rb") as source:
        before = os.fstat(source.fileno())
        shutil.copyfileobj(source, target, _PIECE_BYTES)
        after = os.fstat(source.fileno())
    if target.tell() != content.size_bytes or before.st_mtime_ns != after.st_mtime_ns:
        raise BitcasaError("the file is being written at this moment; try again when it is closed")
