"""The request's path as text, once, before anything reads it.

Doubled slashes go first (`POST //login` comes from clients that glue, and a URL parser would take `login` for a host),
then the percent encoding, strictly: a server that guesses would lead to another name than the one meant.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from bitcasafs.dialects.messages import collapse_slashes
from bitcasafs.dialects.names import unquote_path
from bitcasafs.errors import NameInvalid
from bitcasafs.server.answers import refusal


class Paths:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            path = collapse_slashes(unquote_path(scope["raw_path"]))
        except NameInvalid as error:
            await refusal(error)(scope, receive, send)
            return
        await self._app({**scope, "path": path}, receive, send)
