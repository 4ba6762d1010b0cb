"""Requests that are answered before their body was read.

Old clients repeat a GET with the Content-Length of the POST before it, and never send that body: waiting for it would
hang both. Other clients are refused in the middle of a large upload. In both cases the connection cannot carry another
request, since nobody knows where that would begin: the answer says `Connection: close`.

Closing at once while the client still sends would let its kernel throw our answer away unread. So what it sends is
read on for a moment, and forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 5.0


class Leftovers:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        is_read = False
        drains = scope["method"] not in ("GET", "HEAD")

        async def receive_noting_the_end() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def send_and_close(message: Message) -> None:
            if is_read:
                await send(message)
            elif message["type"] == "http.response.start":
                answer = MutableHeaders(raw=list(message.get("headers", ())))
                answer["Connection"] = "close"
                await send({**message, "headers": answer.raw})
            elif message.get("more_body", False) or not drains:
                await send(message)
            else:
                await send({**message, "more_body": True})
                await _drain(receive_noting_the_end)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, receive_noting_the_end, send_and_close)


async def _drain(receive: Receive) -> None:
    drained = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while drained < DRAIN_BYTES:
                message = await receive()
                drained += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
