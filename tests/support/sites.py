"""A portal on the wire with a fault proxy before it, and mounts of its drive in any number of homes.

with site(folder) as portal, home() as place:
    portal.mount(place)
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fault_proxy import FaultProxyThread
from tests.support.faults import Script
from tests.support.mounted import Home, wait_until
from tests.support.request_log import Ending
from tests.support.server import PASSWORD, RunningServer, serving

_SEND_SECONDS = 300.0

slow_on_historical = pytest.mark.parametrize(
    "portal", [pytest.param(False, id="extended"), pytest.param(True, id="historical", marks=pytest.mark.slow)],
    indirect=True,
)  # fmt: skip
"""For tests with the fixture `portal` that tell little more on the second kind."""


@dataclass(frozen=True, slots=True)
class Site:
    """Every mount goes through `proxy`, whose script is empty unless a test gives it one. All homes see one drive."""

    server: RunningServer
    proxy: FaultProxyThread
    historical: bool

    @property
    def url(self) -> str:
        return f"http://{self.proxy.endpoint}"

    def arguments(self, place: Home, options: str = "", *, url: str | None = None) -> list[str]:
        """What stands between `mount.bitcasafs` and the mountpoint. `options`: more of them, with commas between."""
        secret = place.folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
        more = f",{options}" if options else ""
        return ["-o", f"user={self.server.user},password_command=cat {secret}{more}", url or self.url]

    def mount(self, place: Home, options: str = "") -> None:
        """In the background; AssertionError with what it said when it fails."""
        place.mount(*self.arguments(place, options))

    def heal(self) -> None:
        """The network is well again: no faults, and those that still last end."""
        self.proxy.script = Script()
        self.proxy.open()

        def quiet() -> bool:
            self.proxy.release()  # again and again: a request may come to its stall after the first time
            return all(seen.fault is None or seen.ending is not Ending.OPEN for seen in self.proxy.log.all())

        wait_until(quiet, "no request is stalled")

    def remount(self, place: Home, options: str = "") -> None:
        """Everything is sent, what was read is forgotten, and the drive mounted again: what is read then is the
        portal's."""
        umount(place)
        shutil.rmtree(place.folder / "cache", ignore_errors=True)
        self.mount(place, options)


def umount(place: Home) -> None:
    """umount.bitcasafs, which says that the portal has all."""
    left = place.umount(timeout=_SEND_SECONDS)
    assert (left.returncode, left.stderr) == (0, ""), left


@contextlib.contextmanager
def site(folder: Path, *, historical: bool = False) -> Iterator[Site]:
    """A server over `folder/data` and the proxy; both end with the block."""
    with (
        serving(folder, options=("--historical",) if historical else ()) as server,
        FaultProxyThread(server.endpoint, Script()) as proxy,
    ):
        yield Site(server, proxy, historical)


def run(*argv: str | Path, place: Home, timeout: float = 120, environment: Mapping[str, str] | None = None) -> str:
    """A program as its user runs it, in the home: it succeeds and complains of nothing. Answers what it printed."""
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, timeout=timeout, cwd=place.folder, stdin=subprocess.DEVNULL,
        env=place.environment | dict(environment or {}),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
