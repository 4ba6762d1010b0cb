"""uvicorn's connection with the bounds that it lacks: on the head of a request, and on how long one may take.

httptools gathers header lines of any length, and uvicorn waits for ever for the first request of a connection: one
client could fill memory, a thousand could hold every connection. Nor does it give up a client that stops reading its
answer, and with it whatever the answer is read from.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_BYTES = 64 * 1024
"""Request line and headers. Paths are at most 2,048 bytes, cookies of other applications on the host some KiB."""

HEAD_SECONDS = 30.0


class BoundedConnection(HttpToolsProtocol):
    """A connection is in a head from its first byte, or from the end of a body, until the headers are complete.

    `silence_seconds`: a client that takes nothing of a full buffer for so long is cut off."""

    silence_seconds = 60.0

    _head_bytes = 0
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        self._end_taking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        self._end_taking()
        super().resume_writing()

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

    def _await_taking(self) -> None:
        self._end_taking()
        left = self.transport.get_write_buffer_size()
        self._taking = self.loop.call_later(self.silence_seconds, self._see_taking, left)

    def _end_taking(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.cancel()

    def _see_taking(self, left_before: int) -> None:
        """Nothing is added while writing is paused: a buffer that is no smaller was not read from."""
        if self.transport.get_write_buffer_size() < left_before:
            self._await_taking()
        else:
            # Not close, which would wait until the client takes what is left.
            self.transport.abort()


def connection_class(silence_seconds: float) -> type[asyncio.Protocol]:
    """What uvicorn's `http` setting wants."""
    made: Any = type("Connection", (BoundedConnection,), {"silence_seconds": silence_seconds})
    return made  # type: ignore[no-any-return]
