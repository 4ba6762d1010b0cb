"""No other site changes anything in a visitor's name (protocol 1.10).

Part 1's forms carry no token, so this check, the cookie's SameSite and the login form's token stand together. Refused
is every request that changes something and says that it comes from elsewhere; clients that are no browsers say nothing.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from bitcasafs.errors import Forbidden
from bitcasafs.server.answers import refusal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CHANGING_PATHS = frozenset({"/logout", "/share"})
"""They change something, whatever their method."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """Behind `Paths`: it compares decoded paths."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["method"] not in SAFE_METHODS or scope["path"].rstrip("/") in CHANGING_PATHS
        if changes and is_foreign(Headers(scope=scope), scope["scheme"]):
            await refusal(Forbidden("a change that another site asks for is refused"))(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_foreign(headers: Headers, scheme: str) -> bool:
    """Whether the request says that another site made it. A proxy that ends TLS may change the scheme, never the
    host: so hosts are compared, and ports with the default of either scheme left out."""
    if headers.get("sec-fetch-site", "").strip().lower() == "cross-site":
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        theirs = urlsplit(origin.strip())
        ours = urlsplit(f"{scheme}://{headers.get('host', '')}")
        return (theirs.hostname or "", theirs.port or _DEFAULT_PORTS.get(theirs.scheme)) not in {
            (ours.hostname, ours.port or _DEFAULT_PORTS.get(scheme)),
            (ours.hostname, ours.port or _DEFAULT_PORTS.get(theirs.scheme)),
        }
    except ValueError:
        return True
