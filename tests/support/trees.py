"""Trees of files with everything that names and attributes can be, and what a tree looks like to a program."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ODD_NAMES = (
    "with space", "ünïcödé ☃ 日本語", "new\nline", "tab\there", "'quotes' \"double\"", "back\\slash", "-dash",
    ".hidden", "..two dots", "...", "percent%20%2F", "question?hash#", "semi;colon&amp", "trailing ", " leading",
    "e\u0301 decomposed", "\u00e9 composed", "name.upload", "CON", "a:b*c|d<e>", "~", "$HOME `date` !", "{json: []}",
    "bell\x07", "escape\x1b[31m", "delete\x7f", "return\r", "one\x01", "c1\u0085", "\u202ebidi", "\ufeffmark",
    "no\u200bwidth", "\U0001f5c4 outside", "+plus+", "=equals=", "comma,comma", "%", "%00", "index.html",
    "é" * 127, "日" * 85, "y" * 251 + ".txt",
)  # fmt: skip
_MODES = (0o644, 0o644, 0o600, 0o755, 0o444, 0o640, 0o4755, 0o1644)
_TIMES_NS = (1_000_000_000_123_456_789, 946_684_799_999_999_999, 2_500_000_000_000_000_001, 1_380_000_000_000_000_000)


@dataclass(frozen=True, slots=True)
class Seen:
    """One path as stat(2) and reading tell it. `content`: a digest, a link's target, nothing of a folder."""

    kind: int
    content: str
    size_bytes: int
    mode: int | None = None
    mtime_ns: int | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()


def make_tree(root: Path, files: int, *, links: bool = True, attributes: bool = True, xattrs: bool = False) -> None:
    """Exactly `files` regular files in folders of twenty-five; every odd name is there (from 50 files on), as file and
    as folder. `attributes`: modes and times that no umask or clock would give."""
    root.mkdir()
    chance = random.Random(files)
    folders = [root]
    for number in range(files):
        if number % 25 == 0:
            parent = folders[-1] if number % 100 else root
            start = number // 25 % len(ODD_NAMES)
            free = (parent / name for name in ODD_NAMES[start:] + ODD_NAMES)
            folders.append(next(path for path in free if not path.exists()))
            folders[-1].mkdir()
        name = ODD_NAMES[number % len(ODD_NAMES)]
        path = folders[-1] / (name if number < 10 * len(ODD_NAMES) else f"file {number}")
        path.write_bytes(chance.randbytes(300_000 if number % 97 == 3 else chance.choice((0, 1, 700, 4096, 9000))))
        if links and number % 20 == 7:
            target = ("nowhere at all", "/etc/hostname", path.name, ".", "../" + name)[number // 20 % 5]
            path.with_name(f"link {number}").symlink_to(target)
        if xattrs and number % 10 == 0:
            os.setxattr(path, "user.colour", b"\x00blue\xff")
    (root / "empty folder").mkdir(mode=0o700)
    if attributes:
        _set_attributes(root)


def _set_attributes(root: Path) -> None:
    paths = sorted(root.rglob("*"), key=lambda path: (-len(path.parts), path))
    for number, path in enumerate([*paths, root]):
        if not path.is_symlink():
            path.chmod(0o750 if path.is_dir() else _MODES[number % len(_MODES)])
        when = _TIMES_NS[number % len(_TIMES_NS)] + number * 1_000_000_007
        os.utime(path, ns=(when, when), follow_symlinks=False)


def look(root: Path, *, attributes: bool = True) -> Mapping[str, Seen]:
    """Everything below `root` by its path from there, the root itself as `.`; without `attributes` what a portal that
    keeps none can tell: kinds and contents."""
    return {
        str(path.relative_to(root)): _seen(path, attributes)
        for path in (root, *root.rglob("*"))
    }  # fmt: skip


def _seen(path: Path, attributes: bool) -> Seen:
    told = path.lstat()
    kind = stat.S_IFMT(told.st_mode)
    content, size_bytes = "", 0
    if kind == stat.S_IFREG:
        content, size_bytes = hashlib.sha256(path.read_bytes()).hexdigest(), told.st_size
    elif kind == stat.S_IFLNK:
        content, size_bytes = os.readlink(path), told.st_size
    if not attributes:
        return Seen(kind, content, size_bytes)
    names = sorted(name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user."))
    found = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
    return Seen(kind, content, size_bytes, stat.S_IMODE(told.st_mode), told.st_mtime_ns, found)


def assert_same(expected: Mapping[str, Seen], found: Mapping[str, Seen]) -> None:
    """AssertionError names the first paths that differ, one a line: mappings of a thousand rows are beyond reading."""
    names = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
    lines = [f"{name!r}: expected {expected.get(name)}, found {found.get(name)}" for name in names[:10]]
    assert not names, "\n".join([f"{len(names)} paths differ:", *lines])
