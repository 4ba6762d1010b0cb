"""One request as an endpoint sees it: who asks, for what, with which body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from starlette.datastructures import Headers
from starlette.types import Receive

from bitcasafs.dialects.forms import parse_form
from bitcasafs.errors import Malformed, SessionExpired, TimedOut, TooLarge, Truncated
from bitcasafs.server.answers import Answer
from bitcasafs.server.portal import Portal
from bitcasafs.server.sessions import Visitor

WHOLE_SECONDS = 30.0
"""For all of a body that is read whole. A byte now and then is no silence: without an end, whoever has no account could
hold any number of requests open for days."""


class Body:
    """The request's body as it arrives, never gathered unless asked for; read by one task."""

    def __init__(self, receive: Receive, headers: Headers, silence_seconds: float) -> None:
        self._receive = receive
        self._silence_seconds = silence_seconds
        length = headers.get("content-length", "")
        self.announced_bytes = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None

    async def pieces(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """Truncated: the client went away. TooLarge, at once where the length was announced. TimedOut: silence."""
        if self.announced_bytes is not None and self.announced_bytes > limit_bytes:
            raise TooLarge(f"the body has {self.announced_bytes} bytes, at most {limit_bytes} are taken")
        received = 0
        more = True
        while more:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    message = await self._receive()
            except TimeoutError:
                raise TimedOut("nothing more of the body came", applied=False) from None
            if message["type"] != "http.request":
                raise Truncated("the client went away in the middle of its body", applied=False)
            piece: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            received += len(piece)
            if received > limit_bytes:
                raise TooLarge(f"a body here has at most {limit_bytes} bytes")
            if piece:
                yield piece

    async def read(self, limit_bytes: int, within_seconds: float = WHOLE_SECONDS) -> bytes:
        """All of it. As `pieces`; TimedOut: it took too long as a whole, too."""
        try:
            async with asyncio.timeout(within_seconds):
                return b"".join([piece async for piece in self.pieces(limit_bytes)])
        except TimeoutError:
            raise TimedOut("the body came too slowly", applied=False) from None


@dataclass(frozen=True)
class Call:
    """`captured`: what the route's template took from the path, decoded. `client`: the address that logins are
    throttled by. Not slotted: the query is parsed when it is first asked for."""

    portal: Portal
    method: str
    captured: Mapping[str, str]
    headers: Headers
    query_string: bytes
    body: Body
    visitor: Visitor
    client: str

    @property
    def user(self) -> int:
        """SessionExpired: nobody is logged in."""
        if self.visitor.user is None:
            raise SessionExpired("there is no session: log in first")
        return self.visitor.user

    @cached_property
    def query(self) -> Mapping[str, str]:
        """Malformed: not UTF-8, or too many fields."""
        try:
            return parse_form(self.query_string)
        except Malformed:
            raise Malformed("the query is not UTF-8, or has too many fields") from None


Endpoint = Callable[[Call], Awaitable[Answer]]
