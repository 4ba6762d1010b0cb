"""The server of a drive that is kept on this machine: started by the first mount, joined by the others.

Who uses: `compose` (where it listens, with which password) and `run` (which keeps it alive). Layout of a drive's
folder: `run/portal.sock` and `run/lease.sock` are the server's, `run/start.lock` makes starting single,
`mount-password` (0600) is what mounts log in with, `server.log` is what it says. The server ends by itself some time
after the last lease.

Everything but `keep` blocks; `keep` starts the server in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import trio

import bitcasafs
from bitcasafs.atomic import make_private_folder, write_file
from bitcasafs.backoff import Backoff
from bitcasafs.control.registry import connect, short_path
from bitcasafs.errors import BitcasaError, ConfigError, TimedOut
from bitcasafs.logs import Secret

_log = logging.getLogger(__name__)

USER = "mount"
START_SECONDS = 30.0
"""A first start makes a database and an argon2 hash; on a busy machine some seconds, on an old disk more."""

_POLL_SECONDS = 0.02
_SOCKET_PATH_BYTES = 107
_SHOWN_LOG_LINES = 8
_LOG_BYTES = 5 * 1024 * 1024
_RESTART = Backoff(base_seconds=0.2, cap_seconds=30.0, attempts=None)


class EmbeddedServer:
    """`drive` is an absolute path; the folder is made when it is missing. Nothing is started by the constructor."""

    def __init__(self, drive: Path, *, start_seconds: float = START_SECONDS) -> None:
        self._drive = drive
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        if len(os.fsencode(self.portal_socket)) > _SOCKET_PATH_BYTES:
            raise ConfigError(f"the path {drive} is too long for a socket in it; choose a shorter one with -o data=DIR")

    @property
    def portal_socket(self) -> Path:
        return self._drive / "run" / "portal.sock"

    @property
    def lease_socket(self) -> Path:
        return self._drive / "run" / "lease.sock"

    @property
    def log(self) -> Path:
        return self._drive / "server.log"

    def password(self) -> Secret:
        """What mounts log in with; made at the first call."""
        path = self._drive / "mount-password"
        with contextlib.suppress(FileNotFoundError):
            return Secret(path.read_text(encoding="ascii").strip())
        make_private_folder(self._drive)
        with self._single():
            if not path.exists():
                write_file(path, secrets.token_urlsafe(32).encode("ascii"))
            return Secret(path.read_text(encoding="ascii").strip())

    def start_or_join(self) -> None:
        """Return when a server of this drive answers. ConfigError: it does not start, with the last lines of its log;
        TimedOut: not within 30 seconds. Two callers at once start one server."""
        make_private_folder(self._drive)
        password = self.password()
        with self._single():
            if not self._answers():
                self._start(password)

    def close(self) -> None:
        """Let the server go its own way: it outlives this process where another mount holds a lease. Idempotent."""
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # else Popen warns of a child that lives on
        self._process = None

    async def keep(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold a lease while the mount lives, and start the server again when it dies. Runs until cancelled.

        Started: the server answers and the lease is held. The first start's errors are raised, later ones logged.
        """
        await trio.to_thread.run_sync(self.start_or_join)
        started, failures = False, 0
        while True:
            with contextlib.suppress(OSError):
                async with await self._lease() as lease:
                    if not started:
                        task_status.started()
                        started = True
                    failures = 0
                    await _until_closed(lease)
            failures += 1
            _log.info("The embedded server of %s has ended; it is started again", self._drive)
            await trio.sleep(_RESTART.delay(failures, None, random.random()) or 0)
            try:
                await trio.to_thread.run_sync(self.start_or_join)
            except (BitcasaError, OSError) as error:
                _log.warning("The embedded server does not start: %s", error)

    async def _lease(self) -> trio.SocketStream:
        stream = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        try:
            with short_path(self.lease_socket) as path:
                await stream.connect(path)
        except BaseException:
            stream.close()
            raise
        return trio.SocketStream(stream)

    # --- starting -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _single(self) -> Iterator[None]:
        """One process at a time; waits for the other, which holds it for a start at most."""
        make_private_folder(self.portal_socket.parent)
        lock = os.open(self._drive / "run" / "start.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _answers(self) -> bool:
        """Both sockets accept: the lease's as well, so that a server about to end is not taken for one that stays."""
        try:
            for path in (self.lease_socket, self.portal_socket):
                connect(path, timeout_seconds=5.0).close()
        except OSError:
            return False
        return True

    def _start(self, password: Secret) -> None:
        self.close()
        self._add_user(password)
        arguments = ["serve", "--data", os.fspath(self._drive), "--listen", f"unix:{self.portal_socket}", "--embedded"]
        with self._open_log() as log:
            self._process = subprocess.Popen(
                _command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + self._start_seconds
        while not self._answers():
            if self._process.poll() is not None:
                raise ConfigError(f"the server of {self._drive} does not start:\n{self._last_lines()}")
            if time.monotonic() > deadline:
                raise TimedOut(f"the server of {self._drive} does not answer; its log is {self.log}")
            time.sleep(_POLL_SECONDS)

    def _add_user(self, password: Secret) -> None:
        """Make the user that mounts log in as. The marker comes after: a crash in between repeats the command, which
        then finds the user there, with this very password, since that was written first."""
        marker = self._drive / "mount-user"
        if marker.exists():
            return
        arguments = ["user", "add", USER, "--data", os.fspath(self._drive), "--password-stdin", "--keep-existing"]
        done = subprocess.run(
            _command(arguments), input=password.reveal().encode() + b"\n", cwd="/", env=_environment(), check=False,
            capture_output=True,
        )  # fmt: skip
        said = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode != 0:
            raise ConfigError(f"the drive in {self._drive} cannot be set up: {said or f'exit {done.returncode}'}")
        write_file(marker, USER.encode("ascii"))

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[int]:
        """The server writes straight into it, so it is turned over only between two servers."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            os.replace(self.log, self.log.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.log, flags, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_SHOWN_LOG_LINES:]) or f"  (it said nothing; see {self.log})"


async def _until_closed(stream: trio.SocketStream) -> None:
    """The server says nothing on a lease; it ends with the server."""
    with contextlib.suppress(trio.BrokenResourceError):
        while await stream.receive_some(1024):
            pass


def _command(arguments: list[str]) -> list[str]:
    # -P: nothing is imported from the folder that the program happens to be started in.
    return [sys.executable, "-P", "-m", "bitcasafs.cli.bitcasafs", *arguments]


def _environment() -> dict[str, str]:
    """Ours, and where this very package is found, installed or not."""
    root = Path(bitcasafs.__file__).resolve().parent.parent
    present = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{present}" if present else os.fspath(root)}
