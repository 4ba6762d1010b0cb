"""Where a mount keeps what: the XDG folders, one folder an account, and what may be mounted over.

Who uses: `config` and the commands. What waits to be sent is state, never cache: people and cleaners empty caches.
mount(8), fstab and systemd start a mount with no HOME; then the password database knows it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bitcasafs.errors import ConfigError

NAME = "bitcasafs"
_RUNTIME = Path("/run/user")
_MOUNTINFO = Path("/proc/self/mountinfo")
FILE_SYSTEM = "fuse.bitcasafs"
_MOST_LINKS = 40
"""As path_resolution(7) has it."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "fuse.rclone", FILE_SYSTEM}
)
"""Where SQLite's log, which is shared memory beside the file, and flock(2) may hold for one machine or for none."""


@dataclass(frozen=True, slots=True)
class Folders:
    """`state`: outboxes and logs. `data`: embedded drives. `runtime`: sockets, gone after a logout."""

    state: Path
    data: Path
    cache: Path
    runtime: Path

    def account(self, portal: str | None, user: str | None, drive: Path) -> Path:
        """The folder with one account's outbox: by host and user, or by the folder of an embedded drive."""
        return self.state / "accounts" / account_name(portal, user, drive)

    @property
    def default_drive(self) -> Path:
        return self.data / "drive"

    @property
    def control(self) -> tuple[Path, Path]:
        """Where mounts register, and where one may have registered that was started before the runtime folder was
        there (at boot, by fstab)."""
        return self.runtime / "mounts", self.state / "run" / "mounts"


def from_environment(environment: Mapping[str, str], users: Path = _RUNTIME) -> Folders:
    """As the XDG base directory specification has it; relative paths in it are ignored, as it says. Without
    $XDG_RUNTIME_DIR (cron, systemd units) the folder that the system makes for a user, where it is there."""
    home = Path(_absolute(environment.get("HOME")) or pwd.getpwuid(os.geteuid()).pw_dir)

    def base(variable: str, default: Path) -> Path:
        return Path(_absolute(environment.get(variable)) or default) / NAME

    state = base("XDG_STATE_HOME", home / ".local" / "state")
    runtime = Path(_absolute(environment.get("XDG_RUNTIME_DIR")) or users / str(os.geteuid()))
    return Folders(
        state=state,
        data=base("XDG_DATA_HOME", home / ".local" / "share"),
        cache=base("XDG_CACHE_HOME", home / ".cache"),
        runtime=runtime / NAME if runtime.is_dir() else state / "run",
    )


def account_name(portal: str | None, user: str | None, drive: Path) -> str:
    """A file name that no two accounts share: `user@host`, percent-encoded, or `embedded-` and the drive's digest."""
    if portal is None:
        tag = hashlib.sha256(os.fsencode(os.path.realpath(drive))).hexdigest()[:16]
        return f"embedded-{tag}"
    return f"{quote(user or '', safe='')}@{quote(portal.removeprefix('https://'), safe='')}"


def check_mountpoint(mountpoint: Path, own: Mapping[str, Path]) -> Path:
    """The real path of a folder that can be mounted over. ConfigError: missing, no folder, not empty, mounted already,
    or around one of our `own` folders (a name for a person, and the path)."""
    try:
        real = Path(os.path.realpath(mountpoint, strict=True))
        if not real.is_dir():
            raise ConfigError(f"{mountpoint} is not a folder")
        if mounted_file_system(real) is not None:
            raise ConfigError(
                f"something is mounted at {mountpoint} already; `umount.bitcasafs {mountpoint}` ends a mount"
            )
        with os.scandir(real) as entries:
            if next(entries, None) is not None:
                raise ConfigError(f"{mountpoint} is not empty; mount over an empty folder")
    except FileNotFoundError:
        raise ConfigError(f"{mountpoint} does not exist; make it with `mkdir -p {mountpoint}`") from None
    except OSError as error:
        raise ConfigError(f"{mountpoint} cannot be mounted over: {error.strerror}") from None
    for what, folder in own.items():
        if Path(os.path.realpath(folder)).is_relative_to(real):
            raise ConfigError(f"{mountpoint} would cover the {what} folder {folder}, which the mount itself needs")
    return real


def check_state_folder(folder: Path, mountinfo: Path = _MOUNTINFO) -> None:
    """ConfigError: `folder`, which need not be there yet, is or would be on a network file system, or on a drive of
    ours. Asks no file system but for links."""
    kind = file_system_of(Path(os.path.realpath(folder)), mountinfo.read_bytes())
    if kind in NETWORK_FILE_SYSTEMS:
        raise ConfigError(
            f"{folder} is on a network file system ({kind}), where what waits to be sent is not safe: its database and "
            "its locks need a local disk. Name a folder on one: -o state=DIR"
        )


def clear_dead_mount(mountpoint: Path) -> bool:
    """Take away what a killed mount process left ("Transport endpoint is not connected"). True: there was one.

    Lazily: programs that still have files of it open do not keep it. ConfigError: it stays, and what to do.
    """
    place = without_links(mountpoint)
    if mounted_file_system(place) != FILE_SYSTEM or not is_dead_mount(place):
        return False
    command = ["fusermount3", "-u", "-z", "-q", "--", os.fspath(place)]
    with contextlib.suppress(OSError):
        subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if mounted_file_system(place) == FILE_SYSTEM and is_dead_mount(place):
        told = shlex.quote(os.fspath(place))
        raise ConfigError(
            f"the process of the mount at {place} was killed, and the mount cannot be taken away; try "
            f"`fusermount3 -u -z {told}` as the user who mounted it, or `umount -l {told}` as root"
        )
    return True


def is_dead_mount(mountpoint: Path) -> bool:
    """Nobody answers for it any more. Asked with statvfs(2): the kernel may still know what stat(2) wants."""
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def without_links(path: Path) -> Path:
    """The absolute path with all links followed, the last one as well. What is mounted there is not asked: its process
    may be gone or stuck."""
    here = Path(os.path.abspath(path))
    for _ in range(_MOST_LINKS):
        here = Path(os.path.realpath(here.parent)) / here.name
        try:
            here = here.parent / os.readlink(here)
        except OSError:
            break
    return here


def mounted_file_system(mountpoint: Path, mountinfo: Path = _MOUNTINFO) -> str | None:
    """The type of what is mounted exactly at `mountpoint`, the uppermost of several; None: nothing is. Asks no
    mount."""
    wanted = os.fsencode(mountpoint)
    types = [kind for path, kind in _mounts(mountinfo.read_bytes()) if path == wanted]
    return types[-1] if types else None


def file_system_of(path: Path, mountinfo: bytes) -> str | None:
    """The type of what holds `path`, an absolute path without links: of the mounts at it and above it the nearest, of
    several at one place the uppermost. Pure. None: of a table without a root, as a chroot may have it."""
    above = {os.fsencode(path), *(os.fsencode(parent) for parent in path.parents)}
    found = [(len(place), number, kind) for number, (place, kind) in enumerate(_mounts(mountinfo)) if place in above]
    return max(found)[2] if found else None


def _mounts(mountinfo: bytes) -> Iterator[tuple[bytes, str]]:
    """Mountpoint and type of each line (proc(5): the fifth field, and the first after the hyphen)."""
    for line in mountinfo.splitlines():
        fields = line.split(b" ")
        kind = fields[fields.index(b"-", 6) + 1].decode("ascii", "replace")
        yield re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), fields[4]), kind


def _absolute(text: str | None) -> str | None:
    return text if text and os.path.isabs(text) else None
