"""What was read through a real mount is read again by the next one without asking the portal for it."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_proxy import FaultProxyThread
from tests.support.mounted import Home, end_process, home
from tests.support.server import RunningServer, serving

CONTENTS = {f"file {size}": random.Random(size).randbytes(size) for size in (0, 1, 5000, 131_072, 131_073, 3_000_000)}


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(params=[(), ("--historical",)], ids=["extended", "historical"])
def server(place: Home, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with serving(place.folder, options=request.param) as running:
        yield running


def mount(place: Home, server: RunningServer, proxy: FaultProxyThread, options: str = "") -> None:
    secret = place.folder / "secret"
    secret.write_text(server.password)
    done = place.run(
        "mount", f"http://{proxy.endpoint}", place.mountpoint,
        "-o", f"user={server.user},password_command=cat {secret}{options}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def read_all(folder: Path) -> None:
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == CONTENTS


def test_a_later_mount_reads_what_was_read_before_from_this_disk(place: Home, server: RunningServer) -> None:
    with FaultProxyThread(server.endpoint) as proxy:
        mount(place, server, proxy)
        for name, data in CONTENTS.items():
            (place.mountpoint / name).write_bytes(data)
        assert place.umount().returncode == 0

        mount(place, server, proxy)
        read_all(place.mountpoint)
        end_process(place.status()[0]["pid"], signal.SIGKILL)
        fetched = proxy.log.count("GET", "^/file/")
        assert fetched >= len(CONTENTS) - 1

        mount(place, server, proxy)
        read_all(place.mountpoint)
        assert place.umount().returncode == 0
        assert proxy.log.count("GET", "^/file/") == fetched

        mount(place, server, proxy, ",cache_size=0")
        read_all(place.mountpoint)
        assert place.umount().returncode == 0
        assert proxy.log.count("GET", "^/file/") > fetched
    [store] = (place.folder / "cache" / "bitcasafs").glob("*/blocks")
    assert store.stat().st_mode & 0o777 == 0o700
    assert list(store.rglob("*.data")) == []


def test_the_bound_holds_while_more_is_read_through(place: Home, server: RunningServer) -> None:
    with FaultProxyThread(server.endpoint) as proxy:
        mount(place, server, proxy, ",cache_size=4M")
        for number in range(8):
            (place.mountpoint / str(number)).write_bytes(bytes([number]) * 1_500_000)
        assert place.umount().returncode == 0
        mount(place, server, proxy, ",cache_size=4M")
        [store] = (place.folder / "cache" / "bitcasafs").glob("*/blocks")
        for number in range(8):
            assert (place.mountpoint / str(number)).read_bytes() == bytes([number]) * 1_500_000
            assert sum(path.stat().st_blocks * 512 for path in store.rglob("*.*")) <= 4 << 20
        assert list(store.rglob("*.data")) != []
        assert place.umount().returncode == 0


def test_a_drive_on_this_machine_keeps_no_second_copy(place: Home) -> None:
    place.mount()
    (place.mountpoint / "a").write_bytes(b"a")
    assert place.umount().returncode == 0
    place.mount()
    assert (place.mountpoint / "a").read_bytes() == b"a"
    assert place.umount().returncode == 0
    assert not (place.folder / "cache").exists()
