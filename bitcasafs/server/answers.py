"""Answers as ASGI sends them: values of the wire in, Starlette responses out, and one that streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from urllib.parse import quote

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from bitcasafs.dialects.fields import json_bytes
from bitcasafs.dialects.messages import CURSOR, JSON_TYPE
from bitcasafs.dialects.refusals import encode_error
from bitcasafs.errors import BitcasaError
from bitcasafs.server.portal import Portal
from bitcasafs.values.items import Cursor

Answer = Response
"""What an endpoint gives back: it is called once with (scope, receive, send)."""


class Streamed(Response):
    """A body that comes in pieces. `close` is called once at the end, and early when the client goes away.

    Starlette's own runs a task group an answer and hands each piece through a thread where the source is synchronous.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        close: Callable[[], None],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(None, status, headers, media_type)
        # Response counts the body it was given, which is none; a length that is known is in `headers`.
        if headers is None or "Content-Length" not in headers:
            del self.headers["content-length"]
        self._pieces = pieces
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            if scope["method"] != "HEAD":
                async for piece in self._pieces:
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._close()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def json_answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Response(json_bytes(value), status, headers, JSON_TYPE)


def refusal(error: BitcasaError, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """What the wire has for an error; `status` where the wire has several for its kind (429, 405)."""
    usual, _, body, own_headers = encode_error(error)
    return Response(body, status or usual, {**own_headers, **(headers or {})})


def page(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return HTMLResponse(text, status, headers)


def redirect(target: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """302: all old clients follow it with a GET."""
    return RedirectResponse(target, 302, headers)


def cursor_header(portal: Portal, cursor: Cursor | None) -> dict[str, str]:
    """Every answer that carries items has it, where part 2 is spoken."""
    return {CURSOR: cursor} if portal.extended and cursor is not None else {}


def attachment(name: str) -> str:
    """Content-Disposition: saved and never shown, since a page somebody stored must not run as ours."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
