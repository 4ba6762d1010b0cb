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
from bitcasafs.fuse.device import cover, is_connected, uncover, unmount_command
from bitcasafs.fuse.errno import single_cause
from bitcasafs.fuse.handshake import Handshake

_log = logging.getLogger(__name__)

MAX_TASKS = 4096
"""Each request that waits for the network is a task; pyfuse3's own 99 were all taken by 99 stalled readers
(measured)."""

SUBTYPE = "bitcasafs"
_NEEDLESS_FLAGS = frozenset({"nodiratime"})
"""fusermount3 does not know it, and the kernel sets no access times on FUSE."""
_FIRST_STAT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the kernel is asked for. `source` is shown by mount(8) and df; `flags` are the kernel's (`nosuid`, `ro`)."""

    mountpoint: Path
    source: str
    flags: frozenset[str] = frozenset({"nodev", "nosuid"})
    allow_other: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """`device_minor` names the mount, as in /proc/self/mountinfo and /sys/fs/fuse/connections. `raised`: the kernel
    lets many reads wait for the network (`handshake.MAX_BACKGROUND`)."""

    device_minor: int
    raised: bool


class Session:
    """`open` covers the mountpoint, `run` answers until it is unmounted, `close` frees what is left. In that order."""

    def __init__(self, operations: pyfuse3.Operations, options: SessionOptions) -> None:
        self._operations = operations
        self._options = options
        self._handshake: Handshake | None = None
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection | None:
        """Known once `run` has started."""
        return self._connection

    def open(self) -> None:
        """Cover the mountpoint; requests queue in the kernel from here on. ConfigError when the system refuses."""
        mountpoint = self._options.mountpoint
        handshake = Handshake(cover(mountpoint, mount_words(self._options)))
        try:
            pyfuse3.init(self._operations, handshake.place, set())
        except RuntimeError as error:
            handshake.close_place()
            handshake.close()
            uncover(mountpoint)
            raise ConfigError(f"{mountpoint} could not be mounted: {error}") from error
        self._handshake = handshake

    async def run(self, *, task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer requests until the mount is gone or `end` is called. Started: the mountpoint has answered a stat.

        TimedOut when it does not within 30 seconds. ConfigError: it was unmounted before. What ends pyfuse3's loop is
        raised as itself, not as a group.
        """
        try:
            raised = await self._shake_hands()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer, nursery.cancel_scope)
                self._connection = Connection(await self._first_stat(), raised)
                task_status.started(self._connection)
        except BaseExceptionGroup as group:
            cause = single_cause(group)
            if cause is group:
                raise
            raise cause from None

    async def _shake_hands(self) -> bool:
        assert self._handshake is not None, "open comes first"
        with trio.move_on_after(_FIRST_STAT_SECONDS):
            try:
                return await self._handshake.run(pyfuse3.main)
            except OSError as error:
                raise ConfigError(f"{self._options.mountpoint} was unmounted before it answered ({error})") from error
        raise TimedOut(f"{self._options.mountpoint} did not answer within {_FIRST_STAT_SECONDS:.0f} seconds")

    async def _answer(self, scope: trio.CancelScope) -> None:
        await pyfuse3.main(max_tasks=MAX_TASKS)
        scope.cancel()

    async def _first_stat(self) -> int:
        with trio.move_on_after(_FIRST_STAT_SECONDS):
            found = await trio.to_thread.run_sync(os.stat, self._options.mountpoint, abandon_on_cancel=True)
            return os.minor(found.st_dev)
        raise TimedOut(f"{self._options.mountpoint} did not answer within {_FIRST_STAT_SECONDS:.0f} seconds")

    def end(self) -> None:
        """Make `run` return once the requests at hand are answered. Idempotent until `close`."""
        if self._handshake is not None:
            pyfuse3.terminate()

    def close(self) -> None:
        """Unmount if nobody has, and give everything back. Idempotent; never raises, for it runs when all else
        failed."""
        if self._handshake is None:
            return
        handshake, self._handshake = self._handshake, None
        try:
            covered = self._is_covered(handshake)
            # The device first: an unmount that asked our own loop would wait for ever.
            pyfuse3.close(unmount=False)
            handshake.close()
            if covered:
                uncover(self._options.mountpoint)
        except Exception:  # noqa: BLE001 - the rest of the end must go on
            _log.exception("The mount at %s was not closed in order", self._options.mountpoint)

    def _is_covered(self, handshake: Handshake) -> bool:
        """By this very mount: what others have mounted there since stays. Its number is given away again once nobody
        holds a file of it, and then it is not connected any more."""
        if not is_connected(handshake.device):
            return False
        if self._connection is None:
            return True
        device = f"0:{self._connection.device_minor}"
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        return any(line.split(" ", 3)[2] == device for line in mounts.splitlines())


def mount_words(options: SessionOptions) -> set[str]:
    """What stands after fusermount3's `-o`. fsname: its commas and backslashes escaped as it wants them."""
    source = options.source.encode("ascii", "replace").decode("ascii").replace("\\", "\\\\").replace(",", "\\,")
    words = {f"fsname={source}", f"subtype={SUBTYPE}", "default_permissions", *options.flags - _NEEDLESS_FLAGS}
    if options.allow_other:
        words.add("allow_other")
    return words


async def unmount_lazily(mountpoint: Path) -> bool:
    """Take the mount out of the tree now; who has files open keeps them until the session ends. False: it did not
    work."""
    try:
        done = await trio.run_process(
            unmount_command(mountpoint), check=False, stdin=subprocess.DEVNULL, capture_stderr=True
        )
    except OSError as error:
        _log.info("fusermount3 could not be started: %s", error)
        return False
    return done.returncode == 0
