"""Who is measured by `mount`: ours, rclone's mount and the floor, each as a mountpoint that can be emptied of what it
knows and asked when its portal has everything.

Ours logs in and speaks to `bitcasafs serve` over TCP; rclone needs no login and speaks WebDAV to `rclone serve webdav`.
Both have their defaults, but for rclone's two brakes: it would wait 5 s after a close before it uploads, and send a
hundred requests a second at most.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from bitcasafs.control.client import replies
from bitcasafs.control.messages import Ask, ReplyKind, Request
from bitcasafs.control.registry import Registry
from bitcasafs.mount.folders import from_environment
from tests.support.endpoints import Endpoint
from tests.support.link_process import LinkProcess
from tests.support.link_profile import LOOP, LinkProfile
from tests.support.mounted import Home, home
from tests.support.peers import Peer, rclone_mount, rclone_webdav
from tests.support.processes import Process, is_mounted, running
from tests.support.server import RunningServer, serving

NO_BRAKES = ("--vfs-write-back", "10ms", "--webdav-pacer-min-sleep", "0")
"""10 ms and not 0, with which rclone uploads inside the kernel's release, and gives up what is still on its way when
the mount ends."""

_POLL_SECONDS = 0.02
_SEND_SECONDS = 1800.0


class NotSent(Exception):
    """The portal did not get everything; the text says why."""


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of the mount's process and of the server's since they began, and the mount's peak of memory."""

    mount_seconds: float
    server_seconds: float
    peak_rss_bytes: int


class Mounted(Protocol):
    """A running mount."""

    name: str

    @property
    def mountpoint(self) -> Path: ...

    def forget(self) -> None:
        """Mount anew, with nothing known: neither the kernel nor the mount has any content or listing."""
        ...

    def wait_sent(self, files: Mapping[Path, int]) -> None:
        """Until the portal has `files` (paths in the mount and sizes) and says so. NotSent."""
        ...

    def spent(self) -> Spent: ...


@contextlib.contextmanager
def through(profile: LinkProfile, server: Endpoint) -> Iterator[Endpoint]:
    """With `LOOP` directly: an emulator would only take a core from both."""
    if profile == LOOP:
        yield server
        return
    with LinkProcess(server, profile) as link:
        yield link.endpoint


class _Remounting:
    """Mounts again and again in one `with`: `_mounting` answers the context of one mount, up when it is entered."""

    def __init__(self) -> None:
        self._current = ExitStack()
        self.process: Process

    def __enter__(self) -> None:
        self._mount()

    def __exit__(self, *about: object) -> None:
        self._current.close()

    def _mounting(self) -> AbstractContextManager[Process]:
        raise NotImplementedError

    def _mount(self) -> None:
        self.process = self._current.enter_context(self._mounting())

    def _unmount(self) -> None:
        self._current.close()


class Ours(_Remounting):
    """`mount.bitcasafs` with its defaults, and `options` besides."""

    name = "BitcasaFS"

    def __init__(self, place: Home, server: RunningServer, portal: Endpoint, *options: str) -> None:
        super().__init__()
        self._place = place
        self._server = server
        secret = place.folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text(server.password)
        told = ",".join([f"user={server.user}", f"password_command=cat {secret}", *options])
        self._arguments = ("-o", told, portal.url)

    @property
    def mountpoint(self) -> Path:
        return self._place.mountpoint

    def _mounting(self) -> AbstractContextManager[Process]:
        return self._place.mounted(*self._arguments)

    def forget(self) -> None:
        left = self._place.umount(timeout=_SEND_SECONDS)
        if left.returncode:
            raise NotSent(f"umount.bitcasafs ended with {left.returncode}: {left.stderr}")
        self._unmount()
        shutil.rmtree(self._place.folder / "cache", ignore_errors=True)
        self._mount()

    def wait_sent(self, files: Mapping[Path, int], *, seconds: float = _SEND_SECONDS) -> None:
        """The mount tells at once when the last answer of the portal has come. NotSent after `seconds`."""
        give_up_at = time.monotonic() + seconds
        entry = Registry(*from_environment(self._place.environment).control).find(self.mountpoint)
        if entry is None:
            raise NotSent("the mount is gone")
        for reply in replies(entry.socket, Request(Ask.SYNC)):
            if reply.kind is ReplyKind.REFUSED:
                raise NotSent(reply.message)
            assert reply.status is not None
            if time.monotonic() > give_up_at:
                raise NotSent(f"not within {seconds:.0f} s: {reply.status.to_text()}")
            if reply.kind is ReplyKind.DONE and (reply.status.problem_count or reply.status.pending):
                raise NotSent(reply.status.to_text())

    def spent(self) -> Spent:
        mount, server = self.process.usage(), self._server.process.usage()
        return Spent(mount.cpu_seconds, server.cpu_seconds, mount.peak_rss_bytes)


class Rclone(_Remounting):
    """`rclone mount --vfs-cache-mode full` of `rclone serve webdav`. `served`: the folder that is served."""

    name = "rclone"

    def __init__(self, folder: Path, served: Path, server: Peer, portal: Endpoint) -> None:
        super().__init__()
        self._folder = folder
        self._served = served
        self._server = server
        self._portal = portal
        self._control = folder / "rc"
        self.mountpoint.mkdir()

    @property
    def mountpoint(self) -> Path:
        return self._folder / "mnt"

    @contextlib.contextmanager
    def _mounting(self) -> Iterator[Process]:
        self._control.unlink(missing_ok=True)
        control = ("--rc", "--rc-addr", f"unix://{self._control}", "--rc-no-auth")
        cache = self._folder / "cache"
        with rclone_mount(self._portal, self.mountpoint, cache, (*NO_BRAKES, *control)) as peer:
            yield peer.process

    def forget(self) -> None:
        self._unmount()
        shutil.rmtree(self._folder / "cache", ignore_errors=True)
        self._mount()

    def wait_sent(self, files: Mapping[Path, int]) -> None:
        """The folder that is served has them, and rclone says that it sends no more (it looks each file up again)."""
        give_up_at = time.monotonic() + _SEND_SECONDS
        missing = dict(files)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self._control))) as asking:
            while missing or self._uploads(asking):
                if time.monotonic() > give_up_at:
                    raise NotSent(f"rclone has not sent {len(missing)} files:\n{self.process.output()[-2000:]}")
                time.sleep(_POLL_SECONDS)
                missing = {path: size for path, size in missing.items() if _size(self._served / path) != size}

    @staticmethod
    def _uploads(asking: httpx.Client) -> int:
        told = asking.post("http://localhost/vfs/stats").json()["diskCache"]
        if told["erroredFiles"]:
            raise NotSent(f"rclone failed to send {told['erroredFiles']} files")
        return int(told["uploadsInProgress"]) + int(told["uploadsQueued"])

    def spent(self) -> Spent:
        mount, server = self.process.usage(), self._server.process.usage()
        return Spent(mount.cpu_seconds, server.cpu_seconds, mount.peak_rss_bytes)


class Floor(_Remounting):
    """A file system in memory: nothing to send, and what it is to know when it is mounted anew is in `sources`."""

    name = "floor"

    def __init__(self, folder: Path, sources: Path) -> None:
        super().__init__()
        self._sources = sources
        self._arguments: tuple[str, ...] = ()
        self.mountpoint = folder / "floor"
        self.mountpoint.mkdir()

    def _mounting(self) -> AbstractContextManager[Process]:
        argv = [sys.executable, "-m", "tests.support.floor", str(self.mountpoint), *self._arguments]
        return running(argv, ready=is_mounted(self.mountpoint))

    def forget(self) -> None:
        self._unmount()
        self._arguments = ("--filled", str(self._sources))
        self._mount()

    def wait_sent(self, files: Mapping[Path, int]) -> None:
        pass

    def spent(self) -> Spent:
        mount = self.process.usage()
        return Spent(mount.cpu_seconds, 0.0, mount.peak_rss_bytes)


@contextlib.contextmanager
def mounted_three(folder: Path, sources: Path, profile: LinkProfile) -> Iterator[tuple[Mounted, ...]]:
    """All with empty portals, at the other end of such a link."""
    served = folder / "served"
    served.mkdir()
    with ExitStack() as stack:
        place = stack.enter_context(home())
        server = stack.enter_context(serving(folder))
        peer = stack.enter_context(rclone_webdav(served))
        ours = Ours(place, server, stack.enter_context(through(profile, server.endpoint)))
        theirs = Rclone(folder, served, peer, stack.enter_context(through(profile, peer.endpoint)))
        floor = Floor(folder, sources)
        for one in (ours, theirs, floor):
            stack.enter_context(one)
        yield ours, theirs, floor


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None
