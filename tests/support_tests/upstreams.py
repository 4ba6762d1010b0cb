"""A small HTTP server for these tests: remembers what it got whole, answers what the path asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import trio

from tests.support.endpoints import LOOPBACK, Door, Endpoint
from tests.support.http_end import Gone, HttpEnd


@dataclass(frozen=True, slots=True)
class Got:
    method: str
    target: str
    body: bytes


@dataclass(slots=True)
class Upstream:
    """GET /bytes/N: N bytes with their length; GET /chunked/N: N bytes without; anything else: `ok`.

    `whole` has the requests that arrived to their end. `closes`: end the connection after each answer.
    """

    listen: Endpoint = LOOPBACK
    closes: bool = False
    whole: list[Got] = field(default_factory=list)
    connections: int = 0

    async def serve(self, *, task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED) -> None:
        await Door(self.listen).serve(self._serve_connection, task_status=task_status)

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        async with stream:
            end = HttpEnd(stream, h11.SERVER)
            try:
                while isinstance(request := await end.receive(), h11.Request):
                    await self._answer(end, request)
                    if not end.is_done:
                        return
                    end.state.start_next_cycle()
            except Gone:
                return

    async def _answer(self, end: HttpEnd, request: h11.Request) -> None:
        if end.state.they_are_waiting_for_100_continue:
            await end.send(h11.InformationalResponse(status_code=100, headers=[]))
        body = b""
        while isinstance(event := await end.receive(), h11.Data):
            body += event.data
        target = request.target.decode()
        self.whole.append(Got(request.method.decode(), target, body))
        _, kind, *size = target.split("/")
        content = pattern(int(size[0])) if kind in ("bytes", "chunked") else b"ok"
        headers = [] if kind == "chunked" else [("Content-Length", str(len(content)))]
        if self.closes:
            headers.append(("Connection", "close"))
        await end.send(h11.Response(status_code=200, headers=headers))
        for start in range(0, 0 if request.method == b"HEAD" else len(content), 1 << 18):
            await end.send(h11.Data(data=content[start : start + (1 << 18)]))
        await end.send(h11.EndOfMessage())


def pattern(size_bytes: int) -> bytes:
    """Bytes in which a shift or a loss shows."""
    period = bytes(range(251))
    return (period * (size_bytes // len(period) + 1))[:size_bytes]
