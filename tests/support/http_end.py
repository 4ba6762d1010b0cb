"""One end of an HTTP/1.1 connection: a stream and h11's view of it, with breakage told as an exception of that end."""

from __future__ import annotations

from collections.abc import Iterable

import h11
import trio

READ_BYTES = 256 * 1024
HEAD_BYTES = 256 * 1024
"""Largest head: tests send names and headers longer than h11's default takes."""


class Gone(Exception):
    """The other side ended or broke off in the middle of a message, or spoke no HTTP."""


class ClientGone(Gone):
    pass


class UpstreamGone(Gone):
    pass


class HttpEnd:
    """`role` is ours: SERVER towards the client, CLIENT towards the upstream."""

    def __init__(self, stream: trio.SocketStream, role: type[h11.CLIENT | h11.SERVER]) -> None:
        self.stream = stream
        self.state = h11.Connection(role, HEAD_BYTES)
        self._gone: type[Gone] = ClientGone if role is h11.SERVER else UpstreamGone

    async def receive(self) -> h11.Event:
        """The next event; ConnectionClosed is only ever the end between messages."""
        try:
            while True:
                event = self.state.next_event()
                if event is h11.PAUSED:
                    raise AssertionError("read past the end of a message")
                if event is not h11.NEED_DATA:
                    assert isinstance(event, h11.Event)
                    return event
                self.state.receive_data(bytes(await self.stream.receive_some(READ_BYTES)))
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise self._gone(str(error)) from error

    async def send(self, event: h11.Event) -> None:
        try:
            data = self.state.send(event)
            if data:
                await self.stream.send_all(data)
        except trio.BrokenResourceError as error:
            raise self._gone(str(error)) from error

    async def watch(self) -> None:
        """While no message is read: keep what comes for later. Gone when the other side ends."""
        kept_bytes = 0
        while kept_bytes < READ_BYTES:
            try:
                data = bytes(await self.stream.receive_some(READ_BYTES))
            except trio.BrokenResourceError as error:
                raise self._gone(str(error)) from error
            if not data:
                raise self._gone("ended")
            self.state.receive_data(data)
            kept_bytes += len(data)

    @property
    def is_done(self) -> bool:
        """Both messages are whole and another exchange may follow."""
        return self.state.our_state is h11.DONE and self.state.their_state is h11.DONE


def body_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """As announced; None when it is chunked or ends with the connection. A request with neither has no body."""
    found = {name: value for name, value in headers if name in (b"content-length", b"transfer-encoding")}
    if b"transfer-encoding" in found or b"content-length" not in found:
        return None
    return int(found[b"content-length"])


def request_length(request: h11.Request) -> int | None:
    if any(name == b"transfer-encoding" for name, _ in request.headers):
        return None
    return body_length(request.headers) or 0


def response_length(response: h11.Response, method: bytes) -> int | None:
    if method == b"HEAD" or response.status_code in (204, 304):
        return 0
    return body_length(response.headers)
