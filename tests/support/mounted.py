"""A user's home with real mounts in it: the commands run as programs, with folders of their own, and end with the test.

Synchronous: a test that mounts for real is a person at a shell. Everything is under one short folder, because the path
of a unix socket has room for 107 bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT, Process, has_ended, is_mounted, running

_END_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Home:
    """`mountpoint` is an empty folder; `drive` is where an embedded server keeps what is written."""

    folder: Path

    @property
    def mountpoint(self) -> Path:
        return self.folder / "mnt"

    @property
    def drive(self) -> Path:
        return self.folder / "data" / "bitcasafs" / "drive"

    @property
    def state(self) -> Path:
        return self.folder / "state" / "bitcasafs"

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "BITCASAFS_"))}
        return ours | {
            "HOME": os.fspath(self.folder),
            "XDG_STATE_HOME": os.fspath(self.folder / "state"),
            "XDG_DATA_HOME": os.fspath(self.folder / "data"),
            "XDG_CACHE_HOME": os.fspath(self.folder / "cache"),
            "XDG_RUNTIME_DIR": os.fspath(self.folder / "run"),
            "PYTHONPATH": os.fspath(ROOT),
        }

    def run(
        self, command: str, *arguments: str | os.PathLike[str], timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """`mount`, `umount` or `bitcasafs`, to its end."""
        return subprocess.run(
            _argv(command, *arguments), env=self.environment, cwd=self.folder, capture_output=True, text=True,
            timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @contextlib.contextmanager
    def mounted(self, *options: str) -> Iterator[Process]:
        """A mount in the foreground; SIGTERM ends it where the test has not."""
        argv = _argv("mount", "--foreground", *options, self.mountpoint)
        with running(argv, ready=is_mounted(self.mountpoint), environment=self.environment) as process:
            yield process

    def mount(self, *options: str) -> None:
        """In the background; AssertionError with what it said when it fails."""
        done = self.run("mount", *options, self.mountpoint)
        assert done.returncode == 0, done.stderr

    def umount(self, *options: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return self.run("umount", *options, self.mountpoint, timeout=timeout)

    def status(self) -> list[dict[str, Any]]:
        done = self.run("bitcasafs", "status", "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def fusermount(self) -> None:
        """What a file manager does: it asks nobody."""
        subprocess.run(["fusermount3", "-u", self.mountpoint], check=True, timeout=20)

    def server_pid(self) -> int | None:
        """Of the embedded server, while it runs."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.drive / "lock").read_text())
            if not has_ended(pid) and b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def logs(self) -> str:
        """What mounts in the background have logged."""
        return "".join(path.read_text() for path in sorted((self.state / "log").glob("*.log")))


@contextlib.contextmanager
def home() -> Iterator[Home]:
    """An empty home; after the block nothing is mounted in it and nothing runs for it."""
    with tempfile.TemporaryDirectory(prefix="bfs-", ignore_cleanup_errors=True) as folder:
        made = Home(Path(os.path.realpath(folder)))
        for name in ("mnt", "run"):
            (made.folder / name).mkdir(mode=0o700)
        try:
            yield made
        finally:
            _end_everything(made)


def _end_everything(home: Home) -> None:
    if f" {home.mountpoint} fuse" in Path("/proc/self/mounts").read_text():
        subprocess.run(["fusermount3", "-u", "-z", home.mountpoint], check=False, timeout=20)
    for entry in (home.folder / "run" / "bitcasafs" / "mounts").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            end_process(int(json.loads(entry.read_text())["pid"]), signal.SIGKILL)
    pid = home.server_pid()
    if pid is not None:
        end_process(pid, signal.SIGTERM)


def end_process(pid: int, number: signal.Signals) -> None:
    """Signal it and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    wait_until(lambda: has_ended(pid), f"process {pid} has ended")


def wait_until(condition: Any, what: str, seconds: float = _END_SECONDS) -> None:
    """Poll another process's doing: there is no event to wait for. AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def _argv(command: str, *arguments: str | os.PathLike[str]) -> list[str]:
    return [sys.executable, "-m", f"bitcasafs.cli.{command}", *(os.fspath(one) for one in arguments)]
