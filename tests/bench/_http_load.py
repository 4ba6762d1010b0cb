"""The load client of `server`: prepared requests over kept-alive connections, one epoll loop, no HTTP library.

The same client loads both servers. It reads answers as they come and keeps none of them unless a request asks for it,
so that what is measured is the server: `Spent.cpu_seconds` is what it cost itself, and a share near 1 of the time means
that it, and not the server, was the limit. Measured on one core of a machine with two: 30 us for an exchange of 16 KiB,
0.2 s for a GB sent, 0.15 s for one received.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.endpoints import Endpoint, Tcp, socket_address

PIECE_BYTES = 1024 * 1024
SILENCE_SECONDS = 60


class WrongAnswer(Exception):
    """A server answered something else than it was asked for: the run measures nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """`pieces` are the whole request as it is sent. `answer_bytes`: what the answer's body must have. `check` is given
    the whole body, which is kept only for it, and raises WrongAnswer."""

    pieces: tuple[bytes | memoryview, ...]
    status: int = 200
    answer_bytes: int | None = None
    check: Callable[[bytes], None] | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """`cpu_seconds` are the client's own; `received_bytes` are of bodies."""

    requests: int
    seconds: float
    cpu_seconds: float
    received_bytes: int


class _Answer:
    """Reads one answer. Sizes by Content-Length or in chunks; a body without either is refused."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._head: bytearray | None = bytearray()
        self._chunked = False
        self._line = bytearray()
        self._left = 0
        self._is_last = False
        self._body = bytearray()
        self.body_bytes = 0

    def feed(self, data: memoryview) -> bool:
        """Whether the answer is whole."""
        if self._head is not None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            data = memoryview(bytes(self._head[end + 4 :]))
            self._read_head(self._head[:end].decode("latin-1"))
            self._head = None
        whole = self._feed_chunks(data) if self._chunked else self._feed_length(data)
        if whole:
            self._check()
        return whole

    def _read_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if first.split()[1] != str(self._request.status):
            raise WrongAnswer(f"{bytes(self._request.pieces[0][:100])!r} was answered {first!r}")
        if headers.get("connection", "").lower() == "close":
            raise WrongAnswer("the server closes its connections")
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if not self._chunked:
            self._left = int(headers["content-length"])

    def _feed_length(self, data: memoryview) -> bool:
        self._take(data)
        self._left -= len(data)
        return self._left <= 0

    def _feed_chunks(self, data: memoryview) -> bool:
        at = 0
        while at < len(data):
            if self._left:
                stop = min(at + self._left, len(data))
                self._take(data[at:stop])
                self._left -= stop - at
                at = stop
                continue
            self._line.append(data[at])
            at += 1
            if not self._line.endswith(b"\n"):
                continue
            line = bytes(self._line).strip()
            self._line.clear()
            if self._is_last and not line:
                return True
            if line and not self._is_last:
                self._left = int(line.partition(b";")[0], 16)
                self._is_last = self._left == 0
        return False

    def _take(self, data: memoryview) -> None:
        self.body_bytes += len(data)
        if self._request.check is not None:
            self._body += data

    def _check(self) -> None:
        wanted = self._request.answer_bytes
        if wanted is not None and self.body_bytes != wanted:
            raise WrongAnswer(f"{wanted} bytes were asked for, {self.body_bytes} came")
        if self._request.check is not None:
            self._request.check(bytes(self._body))


class _Connection:
    def __init__(self, endpoint: Endpoint) -> None:
        family = socket.AF_INET if isinstance(endpoint, Tcp) else socket.AF_UNIX
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(SILENCE_SECONDS)
        self.socket.connect(socket_address(endpoint))
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._unsent: deque[memoryview] = deque()
        self._answer: _Answer | None = None

    def begin(self, request: Request) -> None:
        self._unsent.extend(memoryview(piece) for piece in request.pieces)
        self._answer = _Answer(request)

    def send(self) -> bool:
        """As much as is taken now; whether all was."""
        while self._unsent:
            # Pieces of a small request go in one call; of a large one the kernel takes what fits its buffer.
            try:
                sent = self.socket.sendmsg([self._unsent[index] for index in range(min(len(self._unsent), 256))])
            except BlockingIOError:
                return False
            while sent:
                first = self._unsent[0]
                if sent < len(first):
                    self._unsent[0] = first[sent:]
                    break
                sent -= len(first)
                self._unsent.popleft()
        return True

    def receive(self, space: memoryview) -> int | None:
        """The bytes of the answer's body, once it is whole."""
        assert self._answer is not None, "nothing was asked"
        try:
            count = self.socket.recv_into(space)
        except BlockingIOError:
            return None
        if not count:
            raise WrongAnswer("the server closed the connection in the middle of an exchange")
        return self._answer.body_bytes if self._answer.feed(space[:count]) else None


class Load:
    """`connections` to one server, made once: `with Load(endpoint, 8) as load`. One exchange a connection at a time."""

    def __init__(self, endpoint: Endpoint, connections: int) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        for _ in range(connections):
            made = _Connection(endpoint)
            self._connections[made.socket.fileno()] = made
            self._epoll.register(made.socket, 0)
        self._space = memoryview(bytearray(PIECE_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections.values():
            connection.socket.close()
        self._epoll.close()

    def run(self, requests: Iterator[Request], seconds: float = float("inf")) -> Spent:
        """Keep every connection busy until the requests are over, or none is begun any more after `seconds`; those
        that were begun are finished. The time is from the first byte sent to the last received."""
        began, began_cpu = time.perf_counter(), time.process_time()
        stop_at = began + seconds
        busy = done = received_bytes = 0

        def begin(connection: _Connection) -> bool:
            request = next(requests, None) if time.perf_counter() < stop_at else None
            if request is None:
                self._epoll.modify(connection.socket, 0)
                return False
            connection.begin(request)
            self._watch(connection)
            return True

        for connection in self._connections.values():
            busy += begin(connection)
        while busy:
            events = self._epoll.poll(SILENCE_SECONDS)
            if not events:
                raise WrongAnswer(f"no server was heard for {SILENCE_SECONDS} s")
            for number, happened in events:
                connection = self._connections[number]
                if happened & select.EPOLLOUT:
                    self._watch(connection)
                if happened & ~select.EPOLLOUT:
                    body_bytes = connection.receive(self._space)
                    if body_bytes is not None:
                        done += 1
                        received_bytes += body_bytes
                        busy -= not begin(connection)
        return Spent(done, time.perf_counter() - began, time.process_time() - began_cpu, received_bytes)

    def _watch(self, connection: _Connection) -> None:
        wanted = select.EPOLLIN if connection.send() else select.EPOLLIN | select.EPOLLOUT
        self._epoll.modify(connection.socket, wanted)
