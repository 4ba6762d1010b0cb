"""Files that are there whole or not at all, for this user alone.

Who uses: whatever keeps settings, secrets and state. All of it blocks; with fsync that is milliseconds, on a busy disk
seconds, so it runs at the start or in a thread. Raises OSError as the system does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import stat
from pathlib import Path

from bitcasafs.errors import ConfigError


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Make `path` hold `data`, durably; a reader, and a crash, see the old content or the new.

    The content never has wider permissions than `mode`, whatever the umask. A symbolic link at `path` is replaced.
    """
    # A short name of its own: `path.name` may already have the 255 bytes that a name can have.
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o700)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make what was written to `path` durable, by whomever. FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: without it a power cut can undo a rename whose content was synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Make sure that `folder` is there, is this user's and is closed to all others (0700); missing parents likewise.

    An empty folder that is open to others is closed. ConfigError: it is none, it belongs to somebody else, or it is
    open and holds something already: closing it unasked could lock others out of what they use (`--data /tmp`).
    """
    if not folder.parent.exists():
        make_private_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    # Of the link itself: somebody else's link in a shared folder would lead our secrets where they like.
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid == os.geteuid():
        found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{folder} is not a folder")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{folder} belongs to another user (uid {found.st_uid})")
    if stat.S_IMODE(found.st_mode) & 0o077:
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is open to other users; close it first: chmod 700 {shlex.quote(str(folder))}")
        folder.chmod(0o700)
