"""A small disk of its own, for what happens when one is full or read-only: ext4 in a file. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.mounted import wait_until

_WATCH_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class LoopDisk:
    path: Path
    """Where it is mounted."""

    @property
    def free_bytes(self) -> int:
        told = os.statvfs(self.path)
        return told.f_bavail * told.f_frsize

    def make_read_only(self) -> None:
        """When no file on it is open for writing any more: threads of a killed process end after it."""
        wait_until(lambda: not _try("mount", "-o", "remount,ro", self.path), "the disk can be made read-only")

    def make_writable(self) -> None:
        _run("mount", "-o", "remount,rw", self.path)

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[int]]:
        """The least that was free while the block ran, in the list after it."""
        ended = threading.Event()
        least = [self.free_bytes]

        def watch() -> None:
            while not ended.wait(_WATCH_SECONDS):
                least[0] = min(least[0], self.free_bytes)

        watcher = threading.Thread(target=watch, name="watcher of a disk", daemon=True)
        watcher.start()
        try:
            yield least
        finally:
            ended.set()
            watcher.join()


@contextlib.contextmanager
def loop_disk(folder: Path, size_bytes: int, mountpoint: Path | None = None) -> Iterator[LoopDisk]:
    """Empty, and gone after the block. `mountpoint`: a folder that is there; None: one is made in `folder`."""
    image = folder / "disk.ext4"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    # All of it is for everybody: root, who runs this, could use what is kept for root.
    _run("mkfs.ext4", "-q", "-m", "0", image)
    if mountpoint is None:
        mountpoint = folder / "disk"
        mountpoint.mkdir()
    _run("mount", "-o", "loop", image, mountpoint)
    try:
        yield LoopDisk(mountpoint)
    finally:
        # Lazily: a mount process that a failed test left must not keep it for ever.
        _run("umount", "-l", mountpoint)


def _run(*argv: str | Path) -> None:
    complaint = _try(*argv)
    assert not complaint, f"{argv}: {complaint}"


def _try(*argv: str | Path) -> str:
    """What went wrong, or nothing."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    done = subprocess.run(
        argv, check=False, timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=os.environ | {"PATH": path},
    )  # fmt: skip
    return done.stderr or f"exit code {done.returncode}" if done.returncode else ""
