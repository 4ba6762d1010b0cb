"""A process that may not go on for long after it was unmounted: what it leaves, and for whom it stays."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import Rule, Script, Stall
from tests.support.mounted import Home, wait_until
from tests.support.processes import has_ended
from tests.support.sites import Site, site, umount

LETTER = b"dear reader\n" * 1000
UPLOADS = Rule(Stall(), "POST", "^/(files|batch)")


@contextlib.contextmanager
def stalled(place: Home, linger: str) -> Iterator[Site]:
    """A portal that takes nothing, and in the mount a letter for it that is closed."""
    with tempfile.TemporaryDirectory(prefix="bfs-portal-") as folder, site(Path(folder)) as portal:
        portal.mount(place, f"linger={linger},timeout=2s")
        portal.proxy.script = Script([UPLOADS])
        (place.mountpoint / "letter").write_bytes(LETTER)
        yield portal
        portal.heal()


def test_after_a_plain_umount_the_process_ends_and_the_next_mount_sends(place: Home, other: Home) -> None:
    with stalled(place, "0s") as portal:
        [status] = place.status()
        place.fusermount()
        wait_until(lambda: has_ended(status["pid"]), "the process has ended", seconds=10)
        assert "1 changes stay in" in place.logs()
        portal.heal()
        portal.mount(place)
        umount(place)
        portal.mount(other)
        assert (other.mountpoint / "letter").read_bytes() == LETTER
        umount(other)


def test_umount_bitcasafs_is_not_left_before_all_is_sent(place: Home) -> None:
    with stalled(place, "4s") as portal:
        [status] = place.status()
        place.fusermount()
        with subprocess.Popen(
            [sys.executable, "-m", "bitcasafs.cli.umount", "--wait", str(place.mountpoint)], env=place.environment
        ) as command:
            with pytest.raises(subprocess.TimeoutExpired):
                command.wait(timeout=8)
            assert not has_ended(status["pid"])
            portal.heal()
            assert command.wait(timeout=60) == 0
        assert has_ended(status["pid"])


def test_when_umount_bitcasafs_gives_up_it_does_not_promise_that_the_process_goes_on(place: Home) -> None:
    with stalled(place, "0s"):
        [status] = place.status()
        left = place.umount()
        assert left.returncode == 64
        assert "the next mount sends what is left" in left.stderr
        assert "goes on sending" not in left.stderr
        wait_until(lambda: has_ended(status["pid"]), "the process has ended", seconds=10)
