"""Addresses of streams, how to reach them, and a door that listens on one and can be shut.

Used by the link emulator and the fault proxy. TCP on loopback or unix sockets; no TLS: proxies here pass bytes, and a
test that wants TLS through them ends it at both sides.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True)
class Tcp:
    """Port 0 means any free one, where it is listened on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Unix:
    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def url(self) -> str:
        """What stands in the URL for a client that was given the socket's path besides."""
        return "http://localhost"


Endpoint = Tcp | Unix

LOOPBACK = Tcp("127.0.0.1", 0)

Handler = Callable[[trio.SocketStream], Awaitable[None]]


def parse_endpoint(text: str) -> Endpoint:
    """`HOST:PORT` or `unix:PATH`; ValueError for anything else."""
    if text.startswith("unix:"):
        return Unix(text[5:])
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"neither HOST:PORT nor unix:PATH: {text!r}")
    return Tcp(host, int(port))


def open_socket(endpoint: Endpoint, buffer_bytes: int | None) -> socket.socket:
    """An unconnected socket of the right family. The kernel doubles `buffer_bytes`; it must be set before connect or
    listen, because the TCP window scale is settled in the handshake."""
    opened = socket.socket(socket.AF_INET if isinstance(endpoint, Tcp) else socket.AF_UNIX, socket.SOCK_STREAM)
    opened.setblocking(False)
    if buffer_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    return opened


def socket_address(endpoint: Endpoint) -> tuple[str, int] | str:
    return (endpoint.host, endpoint.port) if isinstance(endpoint, Tcp) else endpoint.path


async def connect(endpoint: Endpoint, buffer_bytes: int | None = None) -> trio.SocketStream:
    """OSError when nobody listens there."""
    opened = trio.socket.from_stdlib_socket(open_socket(endpoint, buffer_bytes))
    try:
        await opened.connect(socket_address(endpoint))
    except BaseException:
        opened.close()
        raise
    return trio.SocketStream(opened)


def reset(stream: trio.abc.AsyncResource) -> None:
    """Close at once, and with a RST where it is TCP; on a unix socket the other side reads an end or ECONNRESET."""
    if not isinstance(stream, trio.SocketStream):
        raise TypeError("only sockets can be reset")
    with contextlib.suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


class Door:
    """Listens on an endpoint; while shut, connecting is refused but the port or path stays ours.

    `serve` may be run once. `shut` and `open` are synchronous, take effect at once, and leave accepted streams alone.
    """

    def __init__(self, listen: Endpoint = LOOPBACK, buffer_bytes: int | None = None) -> None:
        self._endpoint = listen
        self._buffer_bytes = buffer_bytes
        self._opened = trio.Event()
        self._opened.set()
        self._socket: socket.socket | None = None
        self._listener: trio.socket.SocketType | None = None

    @property
    def endpoint(self) -> Endpoint:
        """With the real port as soon as it is served."""
        return self._endpoint

    def shut(self) -> None:
        if not self._opened.is_set():
            return
        self._opened = trio.Event()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._bind()

    def open(self) -> None:
        self._opened.set()

    def _bind(self) -> None:
        """A bound socket that does not listen: the kernel refuses connections and gives the port to nobody else."""
        bound = open_socket(self._endpoint, self._buffer_bytes)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if isinstance(self._endpoint, Unix):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._endpoint.path)
        bound.bind(socket_address(self._endpoint))
        if isinstance(self._endpoint, Tcp):
            host, port = bound.getsockname()
            self._endpoint = Tcp(host, port)
        self._socket = bound

    def _listen(self) -> trio.socket.SocketType:
        assert self._socket is not None
        self._socket.listen(1024)
        self._listener = trio.socket.from_stdlib_socket(self._socket)
        self._socket = None
        return self._listener

    async def serve(
        self, handler: Handler, *, task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run `handler` in its own task for every stream until cancelled; the handler owns and closes its stream."""
        self._bind()
        try:
            async with trio.open_nursery() as nursery:
                if self._opened.is_set():
                    self._listen()
                task_status.started(self._endpoint)
                while True:
                    await self._opened.wait()
                    listener = self._listener or self._listen()
                    try:
                        accepted, _ = await listener.accept()
                    except (trio.ClosedResourceError, ConnectionAbortedError):
                        continue
                    nursery.start_soon(handler, trio.SocketStream(accepted))
        finally:
            self._close()

    def _close(self) -> None:
        for held in (self._listener, self._socket):
            if held is not None:
                held.close()
        if isinstance(self._endpoint, Unix):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._endpoint.path)
