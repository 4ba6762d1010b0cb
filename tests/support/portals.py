"""A `PortalRemote` for a server of the tests, closed when the block ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bitcasafs.logs import Secret
from bitcasafs.remote.portal.client import PortalRemote
from bitcasafs.remote.portal.endpoint import parse_endpoint
from bitcasafs.remote.portal.transport import Timeouts, Transport
from tests.support.endpoints import Endpoint
from tests.support.server import RunningServer


def address_of(endpoint: Endpoint) -> str:
    """As a user would name the portal."""
    return str(endpoint) if str(endpoint).startswith("unix:") else f"http://{endpoint}"


def open_portal(
    server: RunningServer,
    *,
    through: Endpoint | None = None,
    timeouts: Timeouts | None = None,
    connections: int = 48,
    password: str | None = None,
) -> PortalRemote:
    """`through`: a proxy in front of the server."""
    transport = Transport(
        parse_endpoint(address_of(through or server.endpoint)),
        timeouts=timeouts or Timeouts(),
        connections=connections,
    )
    secret = Secret(server.password if password is None else password)
    return PortalRemote(transport, server.user, lambda: secret)


@asynccontextmanager
async def portal_remote(
    server: RunningServer, *, through: Endpoint | None = None, timeouts: Timeouts | None = None
) -> AsyncIterator[PortalRemote]:
    remote = open_portal(server, through=through, timeouts=timeouts)
    try:
        yield remote
    finally:
        await remote.aclose()
