"""The kernel's end of a mount: /dev/fuse, opened and laid over a folder by fusermount3, as libfuse does it for users.

Who uses: `session`. Blocks for the few milliseconds that fusermount3 takes; none of it waits for our own loop.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bitcasafs.errors import ConfigError

FUSERMOUNT = "fusermount3"
_SECONDS = 30.0
_SPOKEN_BYTES = 1
"""fusermount3 sends one byte with the descriptor."""


def cover(mountpoint: Path, words: Iterable[str]) -> int:
    """Mount, and answer the descriptor of /dev/fuse that belongs to it. ConfigError says what fusermount3 said.

    `words` stand after its `-o`. Whoever may open /dev/fuse may mount over a folder of their own: fusermount3 is
    setuid.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = [FUSERMOUNT, "-o", ",".join(sorted(words)), "--", os.fspath(mountpoint)]
        environment = os.environ | {"_FUSE_COMMFD": str(theirs.fileno())}
        try:
            done = subprocess.run(
                argv, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                timeout=_SECONDS, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise ConfigError(f"{FUSERMOUNT} is not installed (package fuse3)") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{mountpoint} could not be mounted: {error}") from error
        ours.setblocking(False)
        descriptors = _received(ours) if done.returncode == 0 else []
    if not descriptors:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix(f"{FUSERMOUNT}: ")
        raise ConfigError(f"{mountpoint} could not be mounted: {said or f'{FUSERMOUNT} gave no reason'}")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _received(ours: socket.socket) -> list[int]:
    try:
        return socket.recv_fds(ours, _SPOKEN_BYTES, 1)[1]
    except BlockingIOError:
        return []


def is_connected(device: int) -> bool:
    """The kernel still has the mount. False once it is unmounted and nobody holds a file of it open, or aborted."""
    poll = select.poll()
    poll.register(device, 0)
    return not any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def uncover(mountpoint: Path) -> None:
    """Out of the tree, whoever uses it; quiet when nothing is there."""
    subprocess.run(
        unmount_command(mountpoint), check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_SECONDS
    )


def unmount_command(mountpoint: Path) -> list[str]:
    """Lazily: who has files open keeps them until the session ends."""
    return [FUSERMOUNT, "-u", "-z", "-q", "--", os.fspath(mountpoint)]
