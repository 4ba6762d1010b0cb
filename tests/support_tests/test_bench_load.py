from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench._http_load import Load, Request, WrongAnswer
from tests.support.endpoints import Unix

ASK = b"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
BY_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"


@contextmanager
def answering(folder: Path, answer: bytes, piece_bytes: int) -> Iterator[Unix]:
    """Whoever asks gets `answer`, sent in pieces of that size."""
    path = str(folder / "socket")

    def talk(client: socket.socket) -> None:
        # A client that is content with less closes in the middle.
        with client, contextlib.suppress(ConnectionError):
            while client.recv(65536):
                for start in range(0, len(answer), piece_bytes):
                    client.sendall(answer[start : start + piece_bytes])

    def accept() -> None:
        for _ in range(2):
            threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield Unix(path)
        accepting.join()


@pytest.mark.parametrize("answer", [BY_LENGTH, IN_CHUNKS], ids=["length", "chunks"])
@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
def test_answers_are_read_whole_however_they_are_cut(tmp_path: Path, answer: bytes, piece_bytes: int) -> None:
    bodies: list[bytes] = []
    request = Request((ASK,), answer_bytes=11, check=bodies.append)
    with answering(tmp_path, answer, piece_bytes) as endpoint, Load(endpoint, 2) as load:
        spent = load.run(itertools.repeat(request, 5))
    assert bodies == [b"hello world"] * 5
    assert (spent.requests, spent.received_bytes) == (5, 55)


@pytest.mark.parametrize("request_", [Request((ASK,), status=201), Request((ASK,), answer_bytes=12)])
def test_another_answer_than_the_one_wanted_ends_the_load(tmp_path: Path, request_: Request) -> None:
    with (
        answering(tmp_path, BY_LENGTH, 10_000) as endpoint,
        Load(endpoint, 2) as load,
        pytest.raises(WrongAnswer),
    ):
        load.run(itertools.repeat(request_, 5))


def test_nothing_is_begun_after_the_time_is_over(tmp_path: Path) -> None:
    with answering(tmp_path, BY_LENGTH, 10_000) as endpoint, Load(endpoint, 2) as load:
        spent = load.run(itertools.repeat(Request((ASK,))), seconds=0)
    assert spent.requests == 0
