"""From a request to its endpoint and back: route, session, call, and one table for every error."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bitcasafs.errors import BitcasaError, Busy, NotFound, SessionExpired, Unsupported
from bitcasafs.server.answers import Answer, refusal
from bitcasafs.server.call import Body, Call
from bitcasafs.server.portal import Portal
from bitcasafs.server.routes import Route, RouteTable
from bitcasafs.server.sessions import Visitor, token_hash, token_of

LOCAL_CLIENT = "local"
"""Those who come through a unix socket have no address."""

_log = logging.getLogger(__name__)


class Dispatcher:
    """The innermost ASGI application. Total: every error is answered, the unforeseen with 500 and a traceback in the
    log. What fails after an answer began can only cut the connection, which clients see as a body too short."""

    def __init__(self, portal: Portal, table: RouteTable) -> None:
        self._portal = portal
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            route, captured, allowed = self._table.find(scope["method"], scope["path"])
            if route is None and allowed:
                unsupported = Unsupported(f"{scope['method']} is not for this path")
                return refusal(unsupported, status=405, headers={"Allow": ", ".join(sorted(allowed))})
            if route is None:
                raise NotFound("this portal has no such path")
            call = await self._call(scope, receive, route, dict(captured))
            return await route.endpoint(call)
        except BitcasaError as error:
            return refusal(error)
        except Exception:  # noqa: BLE001 - total: what nobody foresaw is a 500, logged with its traceback
            _log.exception("a request failed")
            return refusal(Busy("the server failed at this request"), status=500)

    async def _call(self, scope: Scope, receive: Receive, route: Route, captured: dict[str, str]) -> Call:
        headers = Headers(scope=scope)
        visitor = await self._visitor(headers)
        if not route.public and visitor.user is None:
            raise SessionExpired("there is no session: log in first")
        client = scope.get("client")
        return Call(
            portal=self._portal,
            method=scope["method"],
            captured=captured,
            headers=headers,
            query_string=scope["query_string"],
            body=Body(receive, headers, self._portal.limits.silence_seconds),
            visitor=visitor,
            client=client[0] if client else LOCAL_CLIENT,
        )

    async def _visitor(self, headers: Headers) -> Visitor:
        token = token_of(headers.get("cookie"))
        if token is None:
            return Visitor()
        return Visitor(token, await self._portal.sessions.find(token_hash(token)))
