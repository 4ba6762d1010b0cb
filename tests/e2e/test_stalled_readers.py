"""Two hundred readers that wait for the network keep nobody else waiting."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from bitcasafs.fuse.operations import KernelOperations
from bitcasafs.reading.blocks import Blocks
from bitcasafs.remote.interface import ContentRef, Sink
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.contents import random_bytes
from tests.support.faults import Every, Phase, Rule, Script, Stall
from tests.support.kernel_mount import mounted_core
from tests.support.machine import machine
from tests.support.mounted import Home, wait_until
from tests.support.processes import ROOT
from tests.support.sites import site, umount

pytestmark = pytest.mark.alone  # two hundred processes, and bounds on time

READERS = 200
ROUNDS = 5
MOST_SECONDS, BEST_SECONDS = 2.0, 0.1
"""No act may ever take as long as the first; the best of the rounds is below the second. Without the kernel's limits
raised, a read of known content takes as long as the stall (`fuse.handshake`)."""
FILE = random_bytes(700_000)
KNOWN = random_bytes(150_000, seed=2)
NOTE = b"written while everybody waits\n" * 1000


# --- what a person does meanwhile -------------------------------------------------------------------------------------


def _create(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(NOTE)


def _read(path: Path, expected: bytes) -> None:
    """Through the kernel's requests, not from its pages."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.read(len(expected) + 1) == expected


def _open(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def acts(root: Path, number: int) -> dict[str, Callable[[], object]]:
    """Each done once in round `number`, in this order."""
    note = root / f"note {number}"
    return {
        "ls": lambda: os.listdir(root),
        "ls of the folder they read": lambda: os.listdir(root / "crowd"),
        "stat": (root / f"known {number}").stat,
        "stat of a name that is not there": (root / f"nothing {number}").exists,
        "df": lambda: os.statvfs(root),
        "read of what the block store has": lambda: _read(root / f"known {number}", KNOWN),
        "open of a file that they read": lambda: _open(root / "crowd" / f"{number}"),
        "create, write, close": lambda: _create(note),
        "read of what is staged": lambda: _read(note, NOTE),
    }


def measure(root: Path) -> dict[str, list[float]]:
    """Seconds of each act in each round."""
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for name, act in acts(root, number).items():
            began = time.monotonic()
            act()
            found.setdefault(name, []).append(time.monotonic() - began)
    return found


def assert_nobody_waited(found: dict[str, list[float]]) -> None:
    assert {name: seconds for name, seconds in found.items() if max(seconds) > MOST_SECONDS} == {}
    assert {name: seconds for name, seconds in found.items() if min(seconds) > BEST_SECONDS} == {}


def crowd(folder: Path, parts: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.support.crowd", folder, str(parts)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def assert_all_was_read(said: str) -> None:
    digest = hashlib.sha256(FILE).hexdigest()
    assert json.loads(said) == {str(number): digest for number in range(READERS)}


# --- a core in this process, where every single read can be held -----------------------------------------


class Holding(MemoryRemote):
    """Gives nothing of the crowd's contents until `released`."""

    def __init__(self, drive: MemoryDrive) -> None:
        super().__init__(drive)
        self.released = trio.Event()

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        if content.size_bytes == len(FILE):
            await self.released.wait()
        await super().fetch(content, start, stop, sink)


class Watched(KernelOperations):
    """Knows how many reads of the kernel wait."""

    waiting = 0

    async def read(self, *arguments: Any) -> bytes:
        Watched.waiting += 1
        try:
            return await super().read(*arguments)
        finally:
            Watched.waiting -= 1


async def everybody_waits(reads: int) -> None:
    """Nothing tells when the kernel has sent them all."""
    while Watched.waiting < reads:  # noqa: ASYNC110 - what is waited for happens in the kernel
        await trio.sleep(0.01)


def filled_drive() -> MemoryDrive:
    drive = MemoryDrive()
    root = drive.roots[0]
    for number in range(ROUNDS):
        drive.fill(drive.add(root, f"known {number}", folder=False), KNOWN)
    folder = drive.add(root, "crowd", folder=True)
    for number in range(READERS):
        drive.fill(drive.add(folder, f"{number}", folder=False), FILE)
    return drive


@pytest.mark.parametrize("parts", [1, 2])
async def test_readers_that_wait_keep_nobody_waiting(tmp_path: Path, parts: int) -> None:
    """`parts`: reads that wait in each file. A reader in the middle of its file may have two, for what comes next."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    remote = Holding(filled_drive())
    blocks = Blocks(tmp_path / "blocks")
    async with machine(remote, tmp_path / "state", blocks=blocks) as one:
        for number in range(ROUNDS):  # past the kernel, which has no page of it then
            assert await one.read(f"known {number}") == KNOWN
        async with mounted_core(one.fs, mountpoint, Watched) as mounted:
            readers = await mounted.call(crowd, mountpoint / "crowd", parts)
            try:
                assert await mounted.call(line, readers) == "reading"
                with trio.fail_after(20):
                    await everybody_waits(READERS * parts)
                assert_nobody_waited(await mounted.call(measure, mountpoint))
                assert Watched.waiting >= READERS * parts
            finally:
                remote.released.set()  # who waits in the kernel cannot even be killed
                with trio.CancelScope(shield=True):
                    said, _ = await mounted.call(readers.communicate)
            assert_all_was_read(said)
    blocks.close()


# --- and all of it: commands, portal, wire ----------------------------------------------------------------------------


def test_a_portal_that_stalls_reads_keeps_nobody_waiting(place: Home) -> None:
    with tempfile.TemporaryDirectory(prefix="bfs-portal-") as folder, site(Path(folder)) as portal:
        portal.mount(place)
        for number in range(ROUNDS):
            (place.mountpoint / f"known {number}").write_bytes(KNOWN)
        (place.mountpoint / "crowd").mkdir()
        for number in range(READERS):
            (place.mountpoint / "crowd" / f"{number}").write_bytes(FILE)
        portal.remount(place)
        for number in range(ROUNDS):
            assert (place.mountpoint / f"known {number}").read_bytes() == KNOWN
        umount(place)
        portal.mount(place, "timeout=100s")
        portal.proxy.script = Script(
            [
                Rule(Stall(phase=Phase.ANSWER_BODY), method="GET", path="^/file/", when=Every(2)),
                Rule(Stall(phase=Phase.BEFORE_ANSWER), method="GET", path="^/file/"),
            ]
        )
        before = portal.proxy.log.count("GET", "^/file/")
        readers = crowd(place.mountpoint / "crowd", 1)
        try:
            assert line(readers) == "reading"
            wait_until(lambda: portal.proxy.log.count("GET", "^/file/") - before >= 16, "reads stall")
            assert_nobody_waited(measure(place.mountpoint))
        finally:
            portal.proxy.script = Script()
            portal.proxy.release()
            said, _ = readers.communicate()
        assert_all_was_read(said)
        umount(place)
