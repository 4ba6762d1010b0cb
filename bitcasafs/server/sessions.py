"""Session ids: 256 random bits in a cookie, known to the server by their hash alone.

A visitor who has not logged in gets an id too, since old clients take their cookie from the login page, but nothing is
kept for it: the token of the login form is derived from the id, which only this visitor knows. So a flood of visitors
costs no row.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cachetools import TTLCache

from bitcasafs.dialects.cookies import SESSION, parse_cookie
from bitcasafs.server.metadata.interface import Session

LIFETIME_SECONDS = 30 * 86400.0
REMEMBERED_SECONDS = 5.0
"""How long a session is believed without asking. It ends at once when it ends here, and so much later when another
process ends it. Asking is a hop to a thread and a query: a third of the CPU of a small download."""

REMEMBERED = 4096

_TOKEN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request: `token` is the cookie's (None: none that we could have made), `session` what the server
    keeps under it, for those who logged in."""

    token: str | None = field(default=None, repr=False)
    session: Session | None = None

    @property
    def user(self) -> int | None:
        return None if self.session is None else self.session.user


class Sessions:
    """Whose session a token is. Used on the loop alone."""

    def __init__(self, ask: Callable[[bytes], Awaitable[Session | None]]) -> None:
        """`ask`: what the metadata knows under a hash."""
        self._ask = ask
        self._remembered: TTLCache[bytes, Session] = TTLCache(REMEMBERED, REMEMBERED_SECONDS)
        self._ended = 0

    async def find(self, hashed: bytes) -> Session | None:
        """The session under a token's hash, if there is one."""
        session = self._remembered.get(hashed)
        if session is None:
            before = self._ended
            session = await self._ask(hashed)
            # One that ended while we asked may have been found all the same; it is not remembered.
            if session is not None and before == self._ended:
                self._remembered[hashed] = session
        return session

    def forget(self, hashed: bytes) -> None:
        """It has ended, or is another's now: after that is committed."""
        self._ended += 1
        self._remembered.pop(hashed, None)


def new_token() -> str:
    return secrets.token_hex(32)


def token_of(cookie_header: str | None) -> str | None:
    """The session id of a Cookie header; anything that does not look like ours counts as none."""
    token = parse_cookie(cookie_header or "").get(SESSION, "")
    return token if _TOKEN.fullmatch(token) else None


def token_hash(token: str) -> bytes:
    """What the database keeps. The token has 256 random bits: a plain hash cannot be searched."""
    return hashlib.sha256(token.encode("ascii")).digest()


def form_token(token: str) -> str:
    """The `csrf_token` of forms shown to this session: 32 hex digits."""
    return hashlib.sha256(b"form " + token.encode("ascii")).hexdigest()[:32]


def form_token_holds(visitor: Visitor, sent: str) -> bool:
    """Whether a form came from a page that we showed to this session. Clients that send no token, or no session, pass:
    history has both; for them the cookie's SameSite and the Origin check stand in."""
    if not sent or visitor.token is None:
        return True
    return hmac.compare_digest(form_token(visitor.token).encode(), sent.encode("utf-8", "replace"))
