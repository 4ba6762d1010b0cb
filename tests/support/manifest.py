"""Writers that write down what they were told, and whether a folder keeps what they were told.

A writer is a process: `python -m tests.support.manifest FOLDER MANIFEST SEED`. It does random deeds in FOLDER, which
holds what `MANIFEST.tree` says, and writes to MANIFEST, line by line and synced: a deed before it is begun, each step
of it that has returned, an error. It ends when the mount does, or at SIGTERM after the deed that it is at.

    writer = Writer("one", kept, seed=1)
    writer.begin(mountpoint); ...; writer.end()     # around a kill, or not
    writer.check(mountpoint)                        # after the next mount

What may be there: at least what was done when the last step returned that promises anything, at most the step that was
on its way. What was written and never sealed may stand beside its name, as `name (recovered DATE)`.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from tests.support.deeds import Deed, Entry, File, Folder, Hand, Link, Step, Tree, after, draw, found
from tests.support.processes import ROOT

GONE = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
"""What the kernel says when the mount's process was killed."""
_PAUSE_SECONDS = 0.03
_END_SECONDS = 60.0
_RECOVERED = re.compile(r"(?P<stem>.+) \(recovered \d{4}-\d{2}-\d{2}(?: \d+)?\)(?P<ending>\.[^./]*)?", re.DOTALL)

# --- what may be there ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """What a manifest says. `allowed`: from the least that must be there to the most that may be; one where nothing was
    on its way. `error`: the errno that ended it."""

    allowed: tuple[Tree, ...]
    deeds: int
    error: int | None


def told(lines: list[str], tree: Tree) -> Told:
    """Of a manifest whose writer began with `tree`."""
    deeds, error = 0, None
    steps: Deed = ()
    states = [tree]
    for line in lines:
        ((word, value),) = json.loads(line).items()
        if word == "begin":
            assert len(states) == 1, "the deed before was done"
            steps = tuple(Step.from_row(row) for row in value)
            states.append(after(tree, steps[0]))
        elif word == "did":
            if steps[value].promises:
                del states[:-1]
            if value + 1 < len(steps):
                states.append(after(states[-1], steps[value + 1]))
            else:
                tree, deeds = states[-1], deeds + 1
        else:
            error = value
    return Told(tuple(states), deeds, error)


def differences(expected: Tree, seen: Tree, *, attributes: bool = True) -> list[str]:
    """One line a path. Without `attributes`: as a portal that keeps none shows it to others, links as empty files."""
    lines = []
    for path in sorted({*expected, *seen}):
        wanted, there = expected.get(path), seen.get(path)
        if not attributes:
            wanted, there = _plain(wanted), _plain(there)
        elif isinstance(wanted, File) and isinstance(there, File) and wanted.mtime_ns is None:
            there = replace(there, mtime_ns=None)
        if wanted != there:
            lines.append(f"{path!r}: expected {wanted}, found {there}")
    return lines


def _plain(entry: Entry | None) -> Entry | None:
    match entry:
        case Folder():
            return Folder()
        case File(content):
            return File(content)
        case Link():
            return File()
    return entry


def settled(allowed: tuple[Tree, ...], seen: Tree, *, attributes: bool = True) -> Tree:
    """Which of the allowed trees this is, with what was recovered beside it. AssertionError: none of them."""
    recovered = {path: entry for path, entry in seen.items() if _is_recovered(path, entry, allowed)}
    rest = {path: entry for path, entry in seen.items() if path not in recovered}
    wrong = []
    for tree in reversed(allowed):
        lines = differences(tree, rest, attributes=attributes)
        if not lines:
            return {**tree, **recovered}
        wrong.append(lines)
    nearest = min(wrong, key=len)
    raise AssertionError("\n".join([f"none of {len(allowed)} allowed trees; of the nearest:", *nearest[:10]]))


def _is_recovered(path: str, entry: Entry, allowed: tuple[Tree, ...]) -> bool:
    """Content that may have been on its way to the name it bears, and no older content of it."""
    if path in allowed[0] or not isinstance(entry, File) or not (match := _RECOVERED.fullmatch(path)):
        return False
    name = match["stem"] + (match["ending"] or "")
    least = allowed[0].get(name)
    contents = [one.content for tree in allowed[1:] if isinstance(one := tree.get(name), File) and one != least]
    return entry.content in contents


# --- writers ----------------------------------------------------------------------------------------------------------


class Writer:
    """One folder of the drive and what it must hold. `deeds`: how many were done and told, over all processes."""

    def __init__(self, name: str, kept: Path, seed: int) -> None:
        """`kept`: a folder outside of the mount, for the manifests."""
        self.name = name
        self.tree: Tree = {}
        self.deeds = 0
        self._allowed: tuple[Tree, ...] = ({},)
        self._manifest = kept / f"{name}.manifest"
        self._dice = Random(f"{name} {seed}")
        self._process: subprocess.Popen[str] | None = None

    def begin(self, mountpoint: Path) -> None:
        """Go on in the folder, which was checked."""
        self._manifest.unlink(missing_ok=True)
        _tree_path(self._manifest).write_bytes(pickle.dumps(self.tree))
        folder, seed = mountpoint / self.name, str(self._dice.getrandbits(32))
        argv = [sys.executable, "-m", "tests.support.manifest", os.fspath(folder), os.fspath(self._manifest), seed]
        self._process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def end(self, *, killed: bool) -> None:
        """Wait until the process is gone: by itself where the mount was `killed`. AssertionError: it met an error that
        no writer of a healthy mount, or of one that is gone, may be told."""
        assert self._process is not None
        if not killed:
            self._process.terminate()
        _, complaint = self._process.communicate(timeout=_END_SECONDS)
        code, self._process = self._process.returncode, None
        lines = self._manifest.read_text().splitlines() if self._manifest.exists() else []
        was_told = told(lines, self.tree)
        with self._manifest.with_suffix(".history").open("a") as history:  # for whoever looks into a failure
            history.writelines(f"{line}\n" for line in [*lines, '"the end"'])
        self._allowed = was_told.allowed
        self.deeds += was_told.deeds
        assert code == 0, f"writer {self.name} at {lines[-3:]}:\n{complaint}"
        assert killed or was_told.error is None, f"writer {self.name}: the mount went away"

    def kill(self) -> None:
        """For the end of a test that failed."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def check(self, mountpoint: Path) -> None:
        """In a mount with the state folder in which it wrote. From now on what is there must stay."""
        self.tree = settled(self._allowed, found(mountpoint / self.name))
        self._allowed = (self.tree,)

    def check_elsewhere(self, mountpoint: Path, *, attributes: bool) -> None:
        """In a mount that knows nothing but the portal, which has all."""
        lines = differences(self.tree, found(mountpoint / self.name), attributes=attributes)
        assert not lines, "\n".join([f"{self.name}: {len(lines)} paths differ on the portal:", *lines[:10]])


def _tree_path(manifest: Path) -> Path:
    return manifest.with_suffix(".tree")


class _Manifest:
    """Durable line by line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")

    def add(self, **line: object) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())


def main(folder: Path, manifest_path: Path, seed: int) -> int:
    """0 at SIGTERM and when the mount is gone; 1, and says what, when a step failed that may not fail."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    os.umask(0o022)
    tree: Tree = pickle.loads(_tree_path(manifest_path).read_bytes())
    manifest, hand, chance = _Manifest(manifest_path), Hand(folder), Random(seed)
    while not stopping:
        deed = draw(chance, tree)
        manifest.add(begin=[step.to_row() for step in deed])
        for number, step in enumerate(deed):
            try:
                hand.do(step)
            except OSError as error:
                manifest.add(failed=error.errno)
                hand.drop()
                if error.errno in GONE:
                    return 0
                sys.stderr.write(f"{step}: {error}\n")
                return 1
            manifest.add(did=number)
            tree = after(tree, step)
        time.sleep(chance.uniform(0, _PAUSE_SECONDS))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
