"""One mount of the kernel's: from the moment the folder is covered until it is free again.

Who uses: `mount.run`, which owns the nursery. pyfuse3 keeps its session in module globals, so a process has one.
Everything here runs on the event loop; only the first stat of the mountpoint is made in a thread, because our own loop
answers it.
"""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from bitcasafs.errors import ConfigError, TimedOut
from bitcasafs.fuse.connection import CONNECTIONS, Connection, raise_limits
from bitcasafs.fuse.errno import single_cause

_log = logging.getLogger(__name__)

MAX_TASKS = 4096
"""Each request that waits for the network is a task; pyfuse3's own 99 were all taken by 99 stalled readers
(measured)."""

SUBTYPE = "bitcasafs"
_FIRST_STAT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the kernel is asked for. `source` is shown by mount(8) and df; `flags` are the kernel's (`nosuid`, `ro`)."""

    mountpoint: Path
    source: str
    flags: frozenset[str] = frozenset({"nodev", "nosuid"})
    allow_other: bool = False
    connections: Path = CONNECTIONS


class Session:
    """`open` covers the mountpoint, `run` answers until it is unmounted, `close` frees what is left. In that order."""

    def __init__(self, operations: pyfuse3.Operations, options: SessionOptions) -> None:
        self._operations = operations
        self._options = options
        self._opened = False
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection | None:
        """Known once `run` has started."""
        return self._connection

    def open(self) -> None:
        """Cover the mountpoint; requests queue in the kernel from here on. ConfigError when the system refuses."""
        try:
            pyfuse3.init(self._operations, os.fspath(self._options.mountpoint), kernel_options(self._options))
        except RuntimeError as error:
            # libfuse has said why on standard error; it hands nothing back.
            raise ConfigError(
                f"{self._options.mountpoint} could not be mounted ({error}); "
                "is /dev/fuse there, and fusermount3 installed?"
            ) from error
        self._opened = True

    async def run(self, *, task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer requests until the mount is gone or `end` is called. Started: the mountpoint has answered a stat.

        TimedOut when it does not within 30 seconds. What ends pyfuse3's loop is raised as itself, not as a group.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer, nursery.cancel_scope)
                self._connection = await self._first_stat()
                task_status.started(self._connection)
        except BaseExceptionGroup as group:
            cause = single_cause(group)
            if cause is group:
                raise
            raise cause from None

    async def _answer(self, scope: trio.CancelScope) -> None:
        await pyfuse3.main(max_tasks=MAX_TASKS)
        scope.cancel()

    async def _first_stat(self) -> Connection:
        with trio.move_on_after(_FIRST_STAT_SECONDS):
            found = await trio.to_thread.run_sync(os.stat, self._options.mountpoint, abandon_on_cancel=True)
            return raise_limits(os.minor(found.st_dev), self._options.connections)
        raise TimedOut(f"{self._options.mountpoint} did not answer within {_FIRST_STAT_SECONDS:.0f} seconds")

    def end(self) -> None:
        """Make `run` return once the requests at hand are answered. Idempotent until `close`."""
        if self._opened:
            pyfuse3.terminate()

    def close(self) -> None:
        """Unmount if nobody has, and give everything back. Idempotent; never raises, for it runs when all else
        failed."""
        if not self._opened:
            return
        self._opened = False
        try:
            pyfuse3.close(unmount=True)
        except Exception:  # noqa: BLE001 - the rest of the end must go on
            _log.exception("The mount at %s was not closed in order", self._options.mountpoint)


def kernel_options(options: SessionOptions) -> set[str]:
    """The `-o` words for libfuse. fsname: commas and backslashes escaped as it wants them; pyfuse3 takes ASCII
    alone."""
    source = options.source.encode("ascii", "replace").decode("ascii").replace("\\", "\\\\").replace(",", "\\,")
    words = {f"fsname={source}", f"subtype={SUBTYPE}", "default_permissions", *options.flags}
    if options.allow_other:
        words.add("allow_other")
    return words


async def unmount_lazily(mountpoint: Path) -> bool:
    """Take the mount out of the tree now; who has files open keeps them until the session ends. False: it did not
    work."""
    command = ["fusermount3", "-u", "-z", "-q", "--", os.fspath(mountpoint)]
    try:
        done = await trio.run_process(command, check=False, stdin=subprocess.DEVNULL, capture_stderr=True)
    except OSError as error:
        _log.info("fusermount3 could not be started: %s", error)
        return False
    return done.returncode == 0
