"""A mount ends while readers wait for the network and files are on their way: nothing is lost."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import Rule, Script, Stall
from tests.support.mounted import Home, wait_until
from tests.support.processes import has_ended
from tests.support.sites import Site, slow_on_historical, umount

READERS = 20
CONTENT = {f"file {number}": random.Random(number).randbytes(1 + number * 20_000) for number in range(20)}
DOWNLOADS, UPLOADS = Rule(Stall(), "GET", "^/file/"), Rule(Stall(), "POST", "^/(files|batch)")


@pytest.fixture
def old(portal: Site, place: Home, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Files that are on the portal and not on this disk, in a new folder; at the end the network is as it was."""
    portal.mount(place)
    folder = place.mountpoint / request.node.name.partition("[")[0]
    folder.mkdir()
    for number in range(READERS):
        (folder / f"old {number}").write_bytes(bytes([number]) * 200_000)
    portal.remount(place)
    yield folder
    portal.heal()


def stalled_readers(portal: Site, place: Home, folder: Path) -> list[subprocess.Popen[bytes]]:
    """One program a file, each in read(2) with the portal silent; uploads are silent as well."""
    portal.proxy.script = Script([DOWNLOADS, UPLOADS])
    before = portal.proxy.log.count("GET", "^/file/")
    readers = [
        subprocess.Popen(["cp", folder / f"old {number}", place.folder / f"out {number}"]) for number in range(READERS)
    ]
    portal.proxy.log.wait(lambda log: log.count("GET", "^/file/") > before)
    return readers


def wait_for_the_rest(portal: Site, pid: int) -> None:
    """The network comes back: what is left is sent, and the process ends."""
    portal.heal()
    wait_until(lambda: has_ended(pid), "the process has sent the rest and ended", seconds=60)


def assert_sent(portal: Site, elsewhere: Home, folder: str) -> None:
    """The portal has all: another mount sees it."""
    portal.mount(elsewhere)
    assert {name: (elsewhere.mountpoint / folder / name).read_bytes() for name in CONTENT} == CONTENT
    umount(elsewhere)


def fusermount(place: Home, *options: str) -> bool:
    """What a file manager does; False: the mountpoint is busy."""
    argv = ["fusermount3", "-u", *options, str(place.mountpoint)]
    return subprocess.run(argv, check=False, capture_output=True, timeout=20).returncode == 0


@pytest.mark.timeout(240)
def test_twenty_files_closed_and_unmounted_at_once_beside_readers_that_wait(
    portal: Site, place: Home, other: Home, old: Path
) -> None:
    [status] = place.status()
    readers = stalled_readers(portal, place, old)
    for name, data in CONTENT.items():
        (old / name).write_bytes(data)
    assert not fusermount(place), "readers hold it"
    for reader in readers:
        reader.kill()
    # The kernel lets go of a killed reader when its request is answered; then at once, while releases are queued.
    portal.proxy.script = Script([UPLOADS])

    def unmounted() -> bool:
        portal.proxy.release()
        return fusermount(place)

    wait_until(unmounted, "it is not busy any more", seconds=60)
    for reader in readers:
        reader.wait(timeout=60)
    wait_for_the_rest(portal, status["pid"])
    assert_sent(portal, other, old.name)


@slow_on_historical
@pytest.mark.timeout(240)
def test_twenty_files_closed_and_unmounted_lazily_under_readers_that_wait(
    portal: Site, place: Home, other: Home, old: Path
) -> None:
    [status] = place.status()
    readers = stalled_readers(portal, place, old)
    for name, data in CONTENT.items():
        (old / name).write_bytes(data)
    assert fusermount(place, "-z")
    assert not has_ended(status["pid"])
    wait_for_the_rest(portal, status["pid"])
    assert [reader.wait(timeout=60) for reader in readers] == [0] * READERS
    for number in range(READERS):
        assert (place.folder / f"out {number}").read_bytes() == bytes([number]) * 200_000
    assert_sent(portal, other, old.name)
