"""Which programs have something of a mount open: found in /proc, without asking the mount.

Who uses: umount.bitcasafs. Blocks for some milliseconds. What another user's process has open is seen by root alone;
fusermount3 refuses then all the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class FileUser:
    """A process, and one thing of the mount that it holds: an open file, its working folder, a mapped library."""

    pid: int
    program: str
    path: str


def users_of(mountpoint: Path, proc: Path = PROC) -> list[FileUser]:
    """One row a process, by pid. This process is left out."""
    prefix = os.fsencode(mountpoint)
    found = []
    for folder in proc.iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            path = next((one for one in _held(folder) if one == prefix or one.startswith(prefix + b"/")), None)
            if path is not None:
                found.append(FileUser(int(folder.name), _program(folder), os.fsdecode(path)))
    return sorted(found, key=lambda user: user.pid)


def _held(process: Path) -> Iterator[bytes]:
    """Paths of what the process holds; a process that ends meanwhile, or is another user's, holds nothing."""
    with contextlib.suppress(OSError):
        for number in os.listdir(process / "fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(os.fsencode(process / "fd" / number))
    for name in ("cwd", "root", "exe"):
        with contextlib.suppress(OSError):
            yield os.readlink(os.fsencode(process / name))
    with contextlib.suppress(OSError):
        for line in (process / "maps").read_bytes().splitlines():
            fields = line.split(None, 5)
            if len(fields) == 6 and fields[5].startswith(b"/"):
                yield fields[5]


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"
