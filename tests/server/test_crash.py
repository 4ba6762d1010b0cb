"""kill -9 of a real server at random moments under mixed load: what was answered is there, what was not is whole or
absent, and nothing else is served.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from bitcasafs.dialects.batch import PATH as BATCH
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Put
from tests.support.portal_session import Drive, batch_body, lines
from tests.support.server import RunningServer, serving

KILLS = 20
WORKERS = 4


def content_of(name: str, size: int) -> bytes:
    return hashlib.shake_128(name.encode()).digest(size)


@dataclass
class Ledger:
    """What a worker asked for and what it was told, over all servers."""

    there: dict[str, int] = field(default_factory=dict)
    """Name to size, for files that must be there."""
    maybe: dict[str, int] = field(default_factory=dict)
    """Name to size, for files that may be there, whole, or absent."""


class Worker:
    """Uploads, batches, renames and deletes in a folder of its own until the server is gone."""

    def __init__(self, number: int, seed: int) -> None:
        self.folder = f"worker {number}"
        self.ledger = Ledger()
        self._chance = random.Random(seed * 100 + number)
        self._counter = 0
        self._read_back: set[str] = set()

    def run(self, drive: Drive) -> None:
        acts: list[Callable[[Drive], None]] = [self._upload, self._upload, self._batch, self._rename, self._delete]
        try:
            while True:
                self._chance.choice(acts)(drive)
        except httpx.TransportError:
            return

    def _name(self) -> str:
        self._counter += 1
        return f"{self.folder} {self._counter}"

    def _size(self) -> int:
        return self._chance.choice((0, 10, 5_000, 300_000, 2_000_000))

    def _upload(self, drive: Drive) -> None:
        name, size = self._name(), self._size()
        self.ledger.maybe[name] = size
        answer = drive.try_upload(name, content_of(name, size), self.folder)
        assert answer.status_code == 200, answer.text
        self.ledger.there[name] = size
        del self.ledger.maybe[name]

    def _batch(self, drive: Drive) -> None:
        files = {self._name(): self._chance.choice((1, 2_000, 40_000)) for _ in range(50)}
        self.ledger.maybe |= files
        folder = Address(drive.at(self.folder))
        body = batch_body((Put(folder, name, size), content_of(name, size)) for name, size in files.items())
        # A line that came is a promise, though the rest of the answer never does.
        with drive.client.stream("POST", BATCH, content=body) as answer:
            for line, (name, size) in zip(answer.iter_lines(), files.items(), strict=False):
                assert '"status":201' in line
                self.ledger.there[name] = size
                del self.ledger.maybe[name]

    def _rename(self, drive: Drive) -> None:
        if not self.ledger.there:
            return
        source = self._chance.choice(list(self.ledger.there))
        # The content belongs to the name it was made for: moved there and back, so that both names may be seen.
        aside = f"{source} aside"
        for one, other in ((source, aside), (aside, source)):
            size = self.ledger.there.pop(one)
            self.ledger.maybe |= {one: size, other: size}
            answer = drive.rename(f"{self.folder}/{one}", f"{self.folder}/{other}")
            assert answer.status_code == 200, answer.text
            del self.ledger.maybe[one], self.ledger.maybe[other]
            self.ledger.there[other] = size

    def _delete(self, drive: Drive) -> None:
        if len(self.ledger.there) < 20:
            return
        name = self._chance.choice(list(self.ledger.there))
        self.ledger.maybe[name] = self.ledger.there.pop(name)
        answer = drive.delete(f"{self.folder}/{name}")
        assert answer.status_code == 200, answer.text
        del self.ledger.maybe[name]

    def check(self, drive: Drive) -> None:
        """What is there is what was promised, and what may be is whole; from now on that is what must be."""
        rows = drive.rows(self.folder)
        # All are compared with what the listing says of them; read back are the new ones, and some of the others.
        again = set(self._chance.sample(sorted(self._read_back), min(10, len(self._read_back))))
        for name, size in self.ledger.there.items():
            assert name in rows, f"{name} was answered and is gone"
            self._check_content(drive, rows.pop(name), name, size, read=name in again or name not in self._read_back)
        for name, row in rows.items():
            assert name in self.ledger.maybe, f"{name} was never asked for, or was deleted"
            size = self.ledger.maybe[name]
            self._check_content(drive, row, name, size, read=True)
            self.ledger.there[name] = size
        self.ledger.maybe.clear()
        self._read_back = set(self.ledger.there)

    def _check_content(self, drive: Drive, row: dict[str, Any], name: str, size: int, *, read: bool) -> None:
        assert row["size"] == size
        wanted = content_of(name.removesuffix(" aside"), size)
        assert row["digests"]["md5"] == hashlib.md5(wanted).hexdigest()
        assert not read or drive.download(row).content == wanted


def load_until_killed(server: RunningServer, workers: list[Worker], seconds: float) -> None:
    drives = [Drive.of(server) for _ in workers]
    failures: list[BaseException] = []

    def work(worker: Worker, drive: Drive) -> None:
        try:
            worker.run(drive)
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(workers, drives, strict=True)]
    for thread in threads:
        thread.start()
    # The moment of death is chance: nothing is waited for.
    time.sleep(seconds)
    server.process.kill()
    for thread, drive in zip(threads, drives, strict=True):
        thread.join()
        drive.client.close()
    if failures:
        raise failures[0]


def crash_loop(tmp_path: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    # On TCP: httpcore leaves a unix socket open that it could not connect, and that is a warning, which is an error.
    workers = [Worker(number, seed) for number in range(WORKERS)]
    with serving(tmp_path) as server, Drive.of(server) as drive:
        for worker in workers:
            drive.make_folder(worker.folder)
    for _ in range(kills):
        with serving(tmp_path) as server:
            load_until_killed(server, workers, chance.uniform(0.05, 1.0))
        with serving(tmp_path) as server, Drive.of(server) as drive:
            assert list((server.data / "content" / "incoming").iterdir()) == []
            for worker in workers:
                worker.check(drive)
    assert all(worker.ledger.there for worker in workers), "no worker may have been idle"


def test_a_killed_server_keeps_its_promises(tmp_path: Path) -> None:
    crash_loop(tmp_path, 2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_killed_again_and_again_keeps_its_promises(tmp_path: Path) -> None:
    crash_loop(tmp_path, KILLS, seed=2)


def test_orphans_of_a_kill_are_swept_away(tmp_path: Path) -> None:
    """Content that was made durable and never named is removed by the next server's sweep, what is named stays."""
    with serving(tmp_path, unix=True) as server, Drive.of(server) as drive:
        drive.upload("named", b"named content")
        (said,) = lines(drive.client.post(BATCH, content=batch_body([(Put(Address(drive.path), "also", 4), b"also")])))
        assert said["status"] == 201
    orphan = hashlib.sha256(b"orphan").hexdigest()
    path = server.data / "content" / orphan[:2] / orphan[2:]
    path.write_bytes(b"orphan")
    with serving(tmp_path, unix=True) as server, Drive.of(server) as drive:
        give_up_at = time.monotonic() + 10
        while path.exists() and time.monotonic() < give_up_at:
            time.sleep(0.01)
        assert not path.exists()
        assert drive.download(drive.rows()["named"]).content == b"named content"
        assert drive.download(drive.rows()["also"]).content == b"also"
