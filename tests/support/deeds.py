"""What a program does in a folder, step by step, and what the folder is after each step.

A deed is a tuple of steps, each one system call. `after` is pure: it says what a folder holds after a step. `Hand`
carries steps out on a real folder. `draw` makes the next deed from a seeded dice and the folder as it is, so that the
same seed does the same things. `found` reads a real folder back into the same words.
"""

from __future__ import annotations

import enum
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

PIECE_BYTES = 60_000
"""Below the kernel's largest WRITE: a step of writing happened, or did not."""
_MODE, _FOLDER_MODE = 0o644, 0o755
_MOST_FILES, _MOST_FOLDERS = 25, 6
_NAMES = tuple(f"{word}{number}{ending}" for number in range(4) for word, ending in (
    ("letter ", ".txt"), ("ünïcödé", ".tar.gz"), ("plain", ""), (".hidden", ""), ("photo (1) ", ".jpg"),
))  # fmt: skip
_SIZES = (0, 1, 700, 5_000, 5_000, 60_000, 200_000)

# --- what a folder holds ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Folder:
    mode: int = _FOLDER_MODE


@dataclass(frozen=True, slots=True)
class File:
    """`mtime_ns` None: nobody set it since the content changed."""

    content: bytes = b""
    mode: int = _MODE
    mtime_ns: int | None = None

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.content).hexdigest()[:8]
        return f"File({len(self.content)} bytes, {digest}, {self.mode:o}, {self.mtime_ns})"


@dataclass(frozen=True, slots=True)
class Link:
    target: str


Entry = Folder | File | Link
Tree = Mapping[str, Entry]
"""By path from the folder, which is itself not in it."""


class Kind(enum.Enum):
    OPEN = "open"
    WRITE = "write"
    FSYNC = "fsync"
    CLOSE = "close"
    TRUNCATE = "truncate"
    RENAME = "rename"
    UNLINK = "unlink"
    MKDIR = "mkdir"
    RMDIR = "rmdir"
    SYMLINK = "symlink"
    CHMOD = "chmod"
    UTIME = "utime"


@dataclass(frozen=True, slots=True)
class Step:
    """`path`: of WRITE, FSYNC and CLOSE, under which the file was opened. `to`: the new path, or a link's target.
    `number`: flags, offset of a write (-1: at the end), size, mode or mtime, by kind. A write is `size` bytes made
    from `seed`."""

    kind: Kind
    path: str
    to: str = ""
    number: int = 0
    seed: int = 0
    size: int = 0

    @property
    def promises(self) -> bool:
        """Once it has returned, all that was done so far survives the mount."""
        return self.kind not in (Kind.OPEN, Kind.WRITE)

    @property
    def data(self) -> bytes:
        return hashlib.shake_128(b"%d" % self.seed).digest(self.size)

    def to_row(self) -> list[str | int]:
        return [self.kind.value, self.path, self.to, self.number, self.seed, self.size]

    @classmethod
    def from_row(cls, row: list[str | int]) -> Step:
        kind, path, to, number, seed, size = row
        return cls(Kind(kind), str(path), str(to), int(number), int(seed), int(size))


Deed = tuple[Step, ...]


def after(tree: Tree, step: Step) -> Tree:
    """What the folder holds when the step is done."""
    path, entry = step.path, tree.get(step.path)
    match step.kind:
        case Kind.MKDIR:
            return {**tree, path: Folder()}
        case Kind.SYMLINK:
            return {**tree, path: Link(step.to)}
        case Kind.RMDIR | Kind.UNLINK:
            return {other: kept for other, kept in tree.items() if other != path}
        case Kind.RENAME:
            kept = {other: one for other, one in tree.items() if other != step.to and not _is_at(other, path)}
            return kept | {step.to + other[len(path) :]: one for other, one in tree.items() if _is_at(other, path)}
        case Kind.OPEN if entry is None:
            return {**tree, path: File()}
        case Kind.OPEN if step.number & os.O_TRUNC and isinstance(entry, File):
            return {**tree, path: replace(entry, content=b"", mtime_ns=None)}
        case Kind.WRITE if isinstance(entry, File):
            return {**tree, path: replace(entry, content=_written(entry.content, step), mtime_ns=None)}
        case Kind.TRUNCATE if isinstance(entry, File):
            content = entry.content[: step.number].ljust(step.number, b"\0")
            return {**tree, path: replace(entry, content=content, mtime_ns=None)}
        case Kind.CHMOD if isinstance(entry, File | Folder):
            return {**tree, path: replace(entry, mode=step.number)}
        case Kind.UTIME if isinstance(entry, File):
            return {**tree, path: replace(entry, mtime_ns=step.number)}
    return tree


def _is_at(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


def _written(content: bytes, step: Step) -> bytes:
    data = step.data
    offset = len(content) if step.number < 0 else step.number
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :] if data else content


class Hand:
    """Does the steps of one deed after another below `root`; at most one file is open at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptor: int | None = None

    def do(self, step: Step) -> None:
        """OSError as it came; after it `drop`."""
        path = self._root / step.path
        match step.kind:
            case Kind.OPEN:
                self._descriptor = os.open(path, step.number | os.O_CLOEXEC, _MODE)
            case Kind.WRITE if step.number < 0:
                assert os.write(self._opened(), step.data) == step.size
            case Kind.WRITE:
                assert os.pwrite(self._opened(), step.data, step.number) == step.size
            case Kind.FSYNC:
                os.fsync(self._opened())
            case Kind.CLOSE:
                descriptor, self._descriptor = self._opened(), None
                os.close(descriptor)
            case Kind.TRUNCATE:
                os.truncate(path, step.number)
            case Kind.RENAME:
                path.rename(self._root / step.to)
            case Kind.UNLINK:
                path.unlink()
            case Kind.MKDIR:
                path.mkdir(_FOLDER_MODE)
            case Kind.RMDIR:
                path.rmdir()
            case Kind.SYMLINK:
                path.symlink_to(step.to)
            case Kind.CHMOD:
                path.chmod(step.number)
            case Kind.UTIME:
                os.utime(path, ns=(step.number, step.number))

    def drop(self) -> None:
        """Forget an open file, whatever its close says."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError:
                return

    def _opened(self) -> int:
        assert self._descriptor is not None
        return self._descriptor


def found(root: Path) -> Tree:
    """What is really there."""
    return dict(_found(root, ""))


def _found(root: Path, prefix: str) -> Iterator[tuple[str, Entry]]:
    for name in sorted(os.listdir(root / prefix)):
        path, told = prefix + name, (root / (prefix + name)).lstat()
        if stat.S_ISDIR(told.st_mode):
            yield path, Folder(stat.S_IMODE(told.st_mode))
            yield from _found(root, path + "/")
        elif stat.S_ISLNK(told.st_mode):
            yield path, Link(os.readlink(root / path))
        else:
            content = (root / path).read_bytes()
            assert len(content) == told.st_size, f"{path}: {len(content)} bytes read of {told.st_size}"
            yield path, File(content, stat.S_IMODE(told.st_mode), told.st_mtime_ns)


# --- what is done next ------------------------------------------------------------------------------------------------


def draw(chance: Random, tree: Tree) -> Deed:
    """The next deed in a folder that holds `tree`."""
    while True:
        deed = chance.choices(_DEEDS, _weights(tree))[0](chance, tree)
        if deed:
            return deed


def _weights(tree: Tree) -> list[int]:
    crowded = len(_files(tree)) > _MOST_FILES
    return [8 if crowded and one is _unlink else weight for one, weight in zip(_DEEDS, _WEIGHTS, strict=True)]


def _files(tree: Tree) -> list[str]:
    return [path for path, entry in tree.items() if isinstance(entry, File)]


def _folders(tree: Tree) -> list[str]:
    return [path for path, entry in tree.items() if isinstance(entry, Folder)]


def _free(chance: Random, tree: Tree) -> str:
    """A name that is not taken, often one that was before."""
    while True:
        path = os.path.join(chance.choice(["", "", *_folders(tree)]), chance.choice(_NAMES))
        if path not in tree:
            return path


def _pieces(chance: Random, path: str, size: int, offset: int = 0) -> Deed:
    """`offset` -1: at the end."""
    steps = []
    for start in range(0, size, PIECE_BYTES):
        where = offset if offset < 0 else offset + start
        steps.append(Step(Kind.WRITE, path, "", where, chance.getrandbits(30), min(PIECE_BYTES, size - start)))
    return tuple(steps)


def _filled(chance: Random, path: str, flags: int, *, synced: bool) -> Deed:
    ends = (Step(Kind.FSYNC, path), Step(Kind.CLOSE, path))
    return (
        Step(Kind.OPEN, path, "", os.O_WRONLY | flags),
        *_pieces(chance, path, chance.choice(_SIZES)),
        *(ends if synced else ends[1:]),
    )


def _create(chance: Random, tree: Tree) -> Deed:
    if len(_files(tree)) > _MOST_FILES:
        return ()
    return _filled(chance, _free(chance, tree), os.O_CREAT | os.O_EXCL, synced=chance.random() < 0.3)


def _overwrite(chance: Random, tree: Tree) -> Deed:
    return _on_a_file(chance, tree, lambda path: _filled(chance, path, os.O_TRUNC, synced=chance.random() < 0.3))


def _on_a_file(chance: Random, tree: Tree, made: Callable[[str], Deed]) -> Deed:
    files = _files(tree)
    return made(chance.choice(files)) if files else ()


def _small_files(tree: Tree) -> Tree:
    """Those that may still grow."""
    return {path: one for path, one in tree.items() if isinstance(one, File) and len(one.content) < 400_000}


def _append(chance: Random, tree: Tree) -> Deed:
    return _on_a_file(chance, _small_files(tree), lambda path: (
        Step(Kind.OPEN, path, "", os.O_WRONLY | os.O_APPEND),
        *_pieces(chance, path, chance.choice((1, 700, 60_000)), -1), Step(Kind.CLOSE, path),
    ))  # fmt: skip


def _log(chance: Random, tree: Tree) -> Deed:
    """Synced line by line."""
    return _on_a_file(chance, _small_files(tree), lambda path: (
        Step(Kind.OPEN, path, "", os.O_WRONLY | os.O_APPEND),
        *(step for _ in range(5) for step in (*_pieces(chance, path, 80, -1), Step(Kind.FSYNC, path))),
        Step(Kind.CLOSE, path),
    ))  # fmt: skip


def _patch(chance: Random, tree: Tree) -> Deed:
    return _on_a_file(chance, _small_files(tree), lambda path: (
        Step(Kind.OPEN, path, "", os.O_RDWR),
        *_pieces(chance, path, chance.choice((1, 5000)), chance.randrange(100_000)), Step(Kind.CLOSE, path),
    ))  # fmt: skip


def _truncate(chance: Random, tree: Tree) -> Deed:
    return _on_a_file(chance, tree, lambda path: (Step(Kind.TRUNCATE, path, "", chance.choice((0, 3, 4096, 90_000))),))


def _save(chance: Random, tree: Tree) -> Deed:
    """As editors do it: a new file, then over the old one."""

    def steps(path: str) -> Deed:
        aside = f"{path}.new~"
        flags = os.O_CREAT | (os.O_TRUNC if aside in tree else os.O_EXCL)  # a crash may have left one
        made = _filled(chance, aside, flags, synced=chance.random() < 0.5)
        return () if isinstance(tree.get(aside, File()), Folder | Link) else (*made, Step(Kind.RENAME, aside, path))

    return _on_a_file(chance, {path: one for path, one in tree.items() if not path.endswith("~")}, steps)


def _scratch(chance: Random, tree: Tree) -> Deed:
    """Gone before anybody wanted it; sometimes while it is open."""
    path = _free(chance, tree)
    *steps, close = _filled(chance, path, os.O_CREAT | os.O_EXCL, synced=False)
    unlink = Step(Kind.UNLINK, path)
    return (*steps, unlink, *_pieces(chance, path, 700), close) if chance.random() < 0.5 else (*steps, close, unlink)


def _move(chance: Random, tree: Tree) -> Deed:
    return _on_a_file(chance, tree, lambda path: (Step(Kind.RENAME, path, _free(chance, tree)),))


def _move_over(chance: Random, tree: Tree) -> Deed:
    files = _files(tree)
    if len(files) < 2:
        return ()
    source, target = chance.sample(files, 2)
    return (Step(Kind.RENAME, source, target),)


def _unlink(chance: Random, tree: Tree) -> Deed:
    paths = [path for path, entry in tree.items() if not isinstance(entry, Folder)]
    return (Step(Kind.UNLINK, chance.choice(paths)),) if len(paths) > 3 else ()


def _mkdir(chance: Random, tree: Tree) -> Deed:
    path = _free(chance, tree)
    return (Step(Kind.MKDIR, path),) if len(_folders(tree)) < _MOST_FOLDERS and path.count("/") < 3 else ()


def _rmdir(chance: Random, tree: Tree) -> Deed:
    empty = [path for path in _folders(tree) if not any(other.startswith(path + "/") for other in tree)]
    return (Step(Kind.RMDIR, chance.choice(empty)),) if empty else ()


def _move_folder(chance: Random, tree: Tree) -> Deed:
    folders = _folders(tree)
    if not folders:
        return ()
    source, target = chance.choice(folders), _free(chance, tree)
    deep = max(path.count("/") for path in tree if _is_at(path, source)) - source.count("/")
    return () if _is_at(target, source) or target.count("/") + deep > 4 else (Step(Kind.RENAME, source, target),)


def _symlink(chance: Random, tree: Tree) -> Deed:
    if sum(isinstance(entry, Link) for entry in tree.values()) > 3:
        return ()
    return (Step(Kind.SYMLINK, _free(chance, tree), chance.choice(("nowhere at all", "../plain0", "/etc/hostname"))),)


def _chmod(chance: Random, tree: Tree) -> Deed:
    return _on_a_file(chance, tree, lambda path: (Step(Kind.CHMOD, path, "", chance.choice((0o600, 0o755, 0o640))),))


def _utime(chance: Random, tree: Tree) -> Deed:
    return _on_a_file(chance, tree, lambda path: (Step(Kind.UTIME, path, "", chance.randrange(2**60, 2**61)),))


_WEIGHTED: Mapping[Callable[[Random, Tree], Deed], int] = {
    _create: 6, _overwrite: 3, _append: 2, _log: 2, _patch: 2, _truncate: 1, _save: 4, _scratch: 1, _move: 2,
    _move_over: 2, _unlink: 2, _mkdir: 2, _rmdir: 1, _move_folder: 1, _symlink: 1, _chmod: 1, _utime: 1,
}  # fmt: skip
_DEEDS, _WEIGHTS = tuple(_WEIGHTED), tuple(_WEIGHTED.values())
