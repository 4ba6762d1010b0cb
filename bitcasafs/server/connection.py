"""uvicorn's connection with the bounds that it lacks: on the head of a request, and on how long one may take.

httptools gathers header lines of any length, and uvicorn waits for ever for the first request of a connection: one
client could fill memory, a thousand could hold every connection.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_BYTES = 64 * 1024
"""Request line and headers. Paths are at most 2,048 bytes, cookies of other applications on the host some KiB."""

HEAD_SECONDS = 30.0


class BoundedConnection(HttpToolsProtocol):
    """A connection is in a head from its first byte, or from the end of a body, until the headers are complete."""

    _head_bytes = 0
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._begin_deadline()

    def on_headers_complete(self) -> None:
        self._end_deadline()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def _begin_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _end_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()


def connection_class() -> type[asyncio.Protocol]:
    """What uvicorn's `http` setting wants."""
    made: Any = BoundedConnection
    return made  # type: ignore[no-any-return]
