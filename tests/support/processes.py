"""Programs started by a test or a bench: ready when they say so, ended by their pid, and what they cost.

Synchronous. Output goes to a file, so that no program blocks on a full pipe and a failure can show what was said.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.endpoints import Endpoint, open_socket, socket_address

ROOT = Path(__file__).parents[2]
"""The repository: programs of the tests are run from it, as `python -m tests.support....`."""

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process and its descendants since they began, those that ended included where somebody waited for them."""

    user_seconds: float
    system_seconds: float
    peak_rss_bytes: int
    """The sum of each living process's own peak."""

    @property
    def cpu_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


class NotReady(Exception):
    """A program ended, or stayed silent, before it was ready; the text has what it wrote."""


@dataclass(slots=True)
class Process:
    """A running program. `last_usage` is kept when it is stopped, for /proc forgets, and what it wrote as well."""

    popen: subprocess.Popen[bytes]
    output_path: Path
    last_usage: Usage | None = None
    last_output: str = ""

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        """Everything written so far, stdout and stderr."""
        with contextlib.suppress(FileNotFoundError):
            self.last_output = self.output_path.read_text(errors="replace")
        return self.last_output

    def usage(self) -> Usage:
        """Now, or at the end."""
        if self.is_running:
            self.last_usage = usage_of(self.pid)
        if self.last_usage is None:
            raise ProcessLookupError(f"process {self.pid} ended before anybody asked what it used")
        return self.last_usage

    def family(self) -> list[int]:
        """Its pid and those of its living descendants."""
        return family_of(self.pid)

    def kill_family(self) -> None:
        """kill -9 of it and every descendant, by pid, and wait."""
        family = self.family()
        self.kill()
        for pid in family[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while not all(map(has_ended, family)):
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """kill -9 and wait; nothing when it has ended."""
        self._end(signal.SIGKILL, timeout_seconds=10)

    def stop(self, timeout_seconds: float = 10) -> int:
        """SIGTERM, after the time-out SIGKILL; answers the exit code (negative: the signal)."""
        try:
            self._end(signal.SIGTERM, timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.popen.wait()

    def _end(self, signal_number: int, timeout_seconds: float) -> None:
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self.last_usage = usage_of(self.pid)
        self.popen.send_signal(signal_number)
        self.popen.wait(timeout_seconds)


Ready = Callable[[Process], bool]


def says(pattern: str) -> Ready:
    """Ready when its output has a line in which the pattern is found."""
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda process: compiled.search(process.output()) is not None


def answers(endpoint: Endpoint) -> Ready:
    """Ready when somebody accepts on the endpoint."""

    def accepted(process: Process) -> bool:
        with open_socket(endpoint, None) as probe:
            probe.settimeout(1)
            try:
                probe.connect(socket_address(endpoint))
            except OSError:
                return False
            return True

    return accepted


def is_mounted(mountpoint: Path) -> Ready:
    """Ready when something is mounted there; asks the mount table, so a mount that hangs does not hang us."""
    return lambda process: f" {mountpoint} fuse" in Path("/proc/self/mounts").read_text()


@contextlib.contextmanager
def running(
    argv: Sequence[str | os.PathLike[str]],
    *,
    ready: Ready,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
    timeout_seconds: float = 30,
) -> Iterator[Process]:
    """A program that is ready inside the block and stopped after it. NotReady. `environment` is added to ours."""
    with tempfile.TemporaryDirectory(prefix="process-") as kept:
        output_path = Path(kept, "output")
        with output_path.open("wb") as output:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=folder,
            )
        process = Process(popen, output_path)
        try:
            wait_ready(process, ready, timeout_seconds)
            yield process
        finally:
            process.stop()
            process.output()


def wait_ready(process: Process, ready: Ready, timeout_seconds: float) -> None:
    """NotReady when it ends or the time is over before."""
    give_up_at = time.monotonic() + timeout_seconds
    while not ready(process):
        if not process.is_running:
            raise NotReady(f"ended with {process.popen.returncode}:\n{process.output()}")
        if time.monotonic() > give_up_at:
            raise NotReady(f"not ready after {timeout_seconds} s:\n{process.output()}")
        time.sleep(_POLL_SECONDS)


def usage_of(pid: int) -> Usage:
    """From /proc. ProcessLookupError when there is no such process."""
    user_ticks = system_ticks = peak_rss_bytes = 0
    for member in family_of(pid):
        try:
            # The name in brackets may hold anything; the fields are counted behind it.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{member}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            if member == pid:
                raise ProcessLookupError(f"no process {pid}") from None
            continue
        user, system, waited_user, waited_system = map(int, fields[11:15])
        user_ticks += user + waited_user
        system_ticks += system + waited_system
        if peak := re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE):
            peak_rss_bytes += int(peak[1]) * 1024
    return Usage(user_ticks / _TICKS_A_SECOND, system_ticks / _TICKS_A_SECOND, peak_rss_bytes)


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def family_of(pid: int) -> list[int]:
    """The process and its living descendants."""
    family = [pid]
    for member in family:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{member}/task").iterdir():
                family.extend(map(int, (task / "children").read_text().split()))
    return family


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody holds now; for programs that cannot be told 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
