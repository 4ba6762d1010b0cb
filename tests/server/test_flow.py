"""Large bodies pass through a real server without filling its memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support.portal_session import Drive
from tests.support.server import RunningServer, serving

MIB = 1024 * 1024
PIECE = bytes(range(256)) * 1024


def in_threads(work: Sequence[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def multipart(name: str, size_bytes: int) -> Iterator[bytes]:
    yield f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    yield name.encode().ljust(len(PIECE), b".")
    for _ in range(size_bytes // len(PIECE) - 1):
        yield PIECE
    yield b"\r\n--b--\r\n"


def digest_of(name: str, size_bytes: int) -> str:
    digest = hashlib.md5(name.encode().ljust(len(PIECE), b"."))
    for _ in range(size_bytes // len(PIECE) - 1):
        digest.update(PIECE)
    return digest.hexdigest()


def send(server: RunningServer, name: str, size_bytes: int) -> None:
    with Drive.of(server) as drive:
        answer = drive.client.post(
            "/files",
            params={"path": drive.path},
            content=multipart(name, size_bytes),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()[0]["digests"]["md5"] == digest_of(name, size_bytes)


def fetch(server: RunningServer, name: str, size_bytes: int) -> None:
    digest = hashlib.md5()
    with Drive.of(server) as drive, drive.client.stream("GET", f"/file/{drive.rows()[name]['id']}") as answer:
        for piece in answer.iter_raw():
            digest.update(piece)
    assert digest.hexdigest() == digest_of(name, size_bytes)


def test_two_files_pass_through_at_once_whole(tmp_path: Path) -> None:
    with serving(tmp_path, unix=True) as server:
        names = ["one", "two"]
        in_threads([partial(send, server, name, 8 * MIB) for name in names])
        in_threads([partial(fetch, server, name, 8 * MIB) for name in names])


def test_memory_stays_small_while_eight_files_pass_at_once(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(8)]
    with serving(tmp_path, unix=True) as server:
        in_threads([partial(send, server, name, 32 * MIB) for name in names])
        in_threads([partial(fetch, server, name, 32 * MIB) for name in names])
        assert server.process.usage().peak_rss_bytes < 150 * MIB


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_stays_small_while_eight_large_files_pass_in_both_directions(tmp_path: Path) -> None:
    size_bytes = 256 * MIB
    with serving(tmp_path, unix=True) as server:
        # Four first, which then come back while four others go in: 8 at once, half each way, and 8 each way in all.
        first, second = [f"a{number}" for number in range(8)], [f"b{number}" for number in range(4)]
        in_threads([partial(send, server, name, size_bytes) for name in first])
        in_threads([partial(fetch, server, name, size_bytes) for name in first])
        in_threads(
            [partial(send, server, name, size_bytes) for name in second]
            + [partial(fetch, server, name, size_bytes) for name in first[:4]]
        )
        assert server.process.usage().peak_rss_bytes < 150 * MIB
