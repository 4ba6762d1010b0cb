"""Which mounts of this user run, and where their sockets are: one small file a mount, named by mountpoint and process.

Who uses: a mount registers itself; umount.bitcasafs, `bitcasafs status` and a new mount look it up. The folder is this
user's alone (0700) under the runtime directory, so nobody else can put a socket there. All of it blocks, for
microseconds.

A file outlives its process when that is killed; `find` and `all_mounts` leave such files out and take them away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bitcasafs.atomic import make_private_folder, write_file

_SOCKET_PATH_BYTES = 107
"""sun_path, without its NUL (unix(7))."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A running mount. `state`: the folder with its outbox; `socket` answers `control.messages`."""

    mountpoint: Path
    pid: int
    portal: str
    state: Path
    socket: Path


class Registry:
    """The mounts of one user: a new one registers in `folder`, running ones are looked for in `others` as well."""

    def __init__(self, folder: Path, *others: Path) -> None:
        self._folder = folder
        self._places = dict.fromkeys((folder, *others))

    def socket_for(self, mountpoint: Path, pid: int) -> Path:
        """Where the mount at `mountpoint` (an absolute path without links) listens. With the process in its name: one
        that still sends may outlive the next mount of the same folder."""
        return self._folder / f"{_tag(mountpoint)}-{pid}.sock"

    def add(self, entry: Registered) -> None:
        make_private_folder(self._folder)
        document = {
            "mountpoint": os.fspath(entry.mountpoint),
            "pid": entry.pid,
            "portal": entry.portal,
            "state": os.fspath(entry.state),
        }
        write_file(entry.socket.with_suffix(".json"), json.dumps(document).encode("ascii"))

    def remove(self, entry: Registered) -> None:
        """Take the entry and its socket away. Idempotent."""
        for path in (entry.socket.with_suffix(".json"), entry.socket):
            with contextlib.suppress(OSError):
                path.unlink()

    def find(self, mountpoint: Path) -> Registered | None:
        """The running mount at `mountpoint`; of several (an older one still sends) the latest."""
        found = [entry for entry in self._alive(f"{_tag(mountpoint)}-*.json") if entry.mountpoint == mountpoint]
        return found[-1] if found else None

    def of_state(self, state: Path) -> Registered | None:
        """The running process that has the outbox in `state`."""
        return next((entry for entry in self._alive("*.json") if entry.state == state), None)

    def all_mounts(self) -> list[Registered]:
        """Every running mount, by mountpoint."""
        return sorted(self._alive("*.json"), key=lambda entry: entry.mountpoint)

    def _alive(self, pattern: str) -> list[Registered]:
        """Oldest first."""
        dated = []
        for path in (path for place in self._places if place.is_dir() for path in place.glob(pattern)):
            entry = _read(path)
            if entry is not None and self._is_alive(entry):
                with contextlib.suppress(OSError):
                    dated.append((path.stat().st_mtime_ns, path.name, entry))
        return [entry for _, _, entry in sorted(dated, key=lambda one: one[:2])]

    def _is_alive(self, entry: Registered) -> bool:
        """A socket that nobody listens on is that of a killed process; a pid may be another's by now."""
        try:
            connect(entry.socket, timeout_seconds=5.0).close()
        except (ConnectionRefusedError, FileNotFoundError):
            self.remove(entry)
            return False
        except OSError:
            return True  # busy, not gone
        return True


def _read(path: Path) -> Registered | None:
    """None: taken away meanwhile, or not one of ours."""
    try:
        document = json.loads(path.read_bytes())
        return Registered(
            mountpoint=Path(document["mountpoint"]),
            pid=int(document["pid"]),
            portal=str(document["portal"]),
            state=Path(document["state"]),
            socket=path.with_suffix(".sock"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def connect(path: Path, *, timeout_seconds: float) -> socket.socket:
    """A connected stream socket. OSError as the system has it."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        stream.settimeout(timeout_seconds)
        with short_path(path) as reachable:
            stream.connect(reachable)
    except BaseException:
        stream.close()
        raise
    return stream


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path of a socket that fits an address (107 bytes), however deep its folder is."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _tag(mountpoint: Path) -> str:
    return hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16]
