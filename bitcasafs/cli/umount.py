"""umount.bitcasafs: unmounts when everything is on the portal, and says what is not.

Called by people and, as /sbin/umount.bitcasafs, by umount(8). Order: refuse while files are open; wait for the changes
that exist now (Ctrl-C leaves the mount as it is); unmount; wait for the rest, then for the process.
"""

from __future__ import annotations

import argparse
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bitcasafs
from bitcasafs.cli.exits import Exit
from bitcasafs.cli.problems import problem_lines
from bitcasafs.cli.progress import Progress
from bitcasafs.cli.speaking import Parser, complain, guarded
from bitcasafs.control.client import replies
from bitcasafs.control.messages import Ask, Reply, ReplyKind, Request
from bitcasafs.control.registry import Registered, Registry
from bitcasafs.errors import ConfigError, Refused, Unreachable
from bitcasafs.mount.folders import (
    FILE_SYSTEM,
    clear_dead_mount,
    from_environment,
    mounted_file_system,
    without_links,
)
from bitcasafs.mount.users import users_of
from bitcasafs.status import Status
from bitcasafs.units import format_duration

PROGRAM = "umount.bitcasafs"
_SHOWN_USERS = 8
_END_SECONDS = 30.0

_DESCRIPTION = """\
Unmount a Bitcasa drive once everything is on the portal.

While files are open nothing is done (exit 32). When the portal takes nothing for as long as the mount's timeout, or
only changes are left that cannot be sent, the drive is unmounted, the rest is kept for the next mount, and the exit
code is 64. Ctrl-C while it waits leaves the drive mounted.
"""


@dataclass(frozen=True, slots=True)
class Invocation:
    mountpoint: str
    wait: bool
    debug: bool


def main(argv: Sequence[str] | None = None) -> int:
    invocation = parse(sys.argv[1:] if argv is None else argv)
    return guarded(PROGRAM, lambda: _umount(invocation), debug=invocation.debug)


def parse(argv: Sequence[str]) -> Invocation:
    """SystemExit: 0 after --help and --version, 1 for what cannot be understood."""
    parser = Parser(
        prog=PROGRAM, description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="exit codes: 0 all is on the portal, 1 usage, 8 interrupted, 32 still mounted, 64 some changes are kept",
    )  # fmt: skip
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    parser.add_argument("--wait", action="store_true", help="wait for the portal for as long as it takes")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--version", action="version", version=f"BitcasaFS {bitcasafs.__version__}")
    for flag in ("-n", "-v", "-f", "-l", "-r"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-t", metavar="TYPE", help=argparse.SUPPRESS)
    parser.add_argument("-N", metavar="NS", help=argparse.SUPPRESS)
    told = parser.parse_args(argv)
    return Invocation(told.mountpoint, told.wait, told.debug)


def _umount(invocation: Invocation) -> int:
    mountpoint = without_links(Path(invocation.mountpoint))
    entry = Registry(*from_environment(os.environ).control).find(mountpoint)
    is_mounted = mounted_file_system(mountpoint) == FILE_SYSTEM
    if entry is None:
        return _without_process(mountpoint, is_mounted)
    if is_mounted and _refuse_while_open(mountpoint):
        return Exit.FAILED
    return _end(entry, mountpoint, is_mounted, wait=invocation.wait)


def _without_process(mountpoint: Path, is_mounted: bool) -> int:
    """A mount whose process was killed (what it had not sent is in its outbox), or is another user's."""
    if not is_mounted:
        raise ConfigError(f"no Bitcasa drive is mounted at {mountpoint}")
    if not clear_dead_mount(mountpoint):
        complain(
            PROGRAM, f"the process of {mountpoint} cannot be asked from here; unmount it as the user who mounted it"
        )
        complain(PROGRAM, "fusermount3 -u asks nobody, and its process goes on sending")
        return Exit.FAILED
    complain(PROGRAM, "its process was gone already; what was not sent yet is sent by the next mount")
    return Exit.SOME


def _refuse_while_open(mountpoint: Path) -> bool:
    users = users_of(mountpoint)
    for user in users[:_SHOWN_USERS]:
        complain(PROGRAM, f"{user.path} is in use by {user.program} (process {user.pid})")
    if len(users) > _SHOWN_USERS:
        complain(PROGRAM, f"and by {len(users) - _SHOWN_USERS} more processes")
    if users:
        complain(PROGRAM, f"{mountpoint} stays mounted; close these files and try again")
    return bool(users)


def _end(entry: Registered, mountpoint: Path, is_mounted: bool, *, wait: bool) -> int:
    progress = Progress(sys.stderr)
    # Opened now: the number may be another process's once this one has ended.
    process = os.pidfd_open(entry.pid)
    try:
        if is_mounted:
            _wait(replies(entry.socket, Request(Ask.SYNC)), progress, wait=wait)
        # Asked before it is unmounted: a process with nothing to send ends at once, and the last word would be missed.
        ending = replies(entry.socket, Request(Ask.END))
        first = next(ending)
        if is_mounted and not _unmount(mountpoint):
            return Exit.FAILED
        status, moved = _wait(_again(first, ending), progress, wait=wait)
        progress.clear()
        if moved:
            _wait_for_process(process)
    finally:
        os.close(process)
    return _verdict(status, moved)


def _again(first: Reply, rest: Iterator[Reply]) -> Iterator[Reply]:
    yield first
    yield from rest


def _wait(
    stream: Iterator[Reply], progress: Progress, *, wait: bool, clock: Callable[[], float] = time.monotonic
) -> tuple[Status, bool]:
    """The last status, and whether the end came (False: nothing has moved for the mount's time-out)."""
    last: Status | None = None
    since = clock()
    for reply in stream:
        if reply.kind is ReplyKind.REFUSED:
            raise Refused(reply.message)
        assert reply.status is not None
        status = reply.status
        if reply.kind is ReplyKind.DONE:
            return status, True
        progress.show(status)
        if last is None or _mark(status) != _mark(last):
            since = clock()
        last = status
        if not wait and status.pending and clock() - since > status.timeout_seconds:
            return status, False
    raise Unreachable("the mount went away while it was waited for")


def _mark(status: Status) -> tuple[object, ...]:
    """Changes whenever something has moved."""
    return (
        status.pending,
        status.problem_count,
        status.sent_changes,
        status.sent_bytes,
        tuple(upload.sent_bytes for upload in status.sending),
    )


def _unmount(mountpoint: Path) -> bool:
    """False, and said why: it is busy, or not ours to unmount."""
    command = ["fusermount3", "-u", "--", os.fspath(mountpoint)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode == 0 or mounted_file_system(mountpoint) is None:
        return True
    complain(PROGRAM, done.stderr.decode("utf-8", "replace").strip() or f"{mountpoint} could not be unmounted")
    return False


def _wait_for_process(process: int) -> None:
    """It closes its database and goes. Half a minute at most: what it had to send is sent."""
    with selectors.DefaultSelector() as selector:
        selector.register(process, selectors.EVENT_READ)
        selector.select(_END_SECONDS)


def _verdict(status: Status, moved: bool) -> int:
    if moved and not status.pending and not status.problem_count:
        return Exit.OK
    if status.pending:
        plural = "change is" if status.pending == 1 else "changes are"
        complain(PROGRAM, f"{status.pending} {plural} not on the portal yet and kept in {status.staging}")
        complain(PROGRAM, _what_next(status, moved))
    for line in problem_lines(status):
        complain(PROGRAM, line)
    return Exit.SOME


def _what_next(status: Status, moved: bool) -> str:
    """Of what is kept. `moved`: the process has ended."""
    if moved or status.linger_seconds == 0:
        return "the next mount sends what is left"
    limit = "" if status.linger_seconds is None else f" for {format_duration(status.linger_seconds)} at most"
    return f"process {status.pid} goes on sending{limit}; the next mount sends what is left"


if __name__ == "__main__":
    sys.exit(main())
