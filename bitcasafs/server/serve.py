"""A server from its configuration to its end: lock, sockets, requests, signals.

It ends at SIGTERM or SIGINT, or when the leases of an embedded one have run out: it takes no new connections, gives
requests some seconds to end, and closes what it opened. A second signal ends it at once, and loses nothing that was
answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket

import uvicorn
import uvloop
from starlette.types import ASGIApp

from bitcasafs.atomic import make_private_folder
from bitcasafs.errors import ConfigError
from bitcasafs.server import heap
from bitcasafs.server.compose import build_app, open_portal
from bitcasafs.server.config import ServerConfig
from bitcasafs.server.connection import connection_class
from bitcasafs.server.housekeeping import keep_house
from bitcasafs.server.lease import Leases, lease_address
from bitcasafs.server.listeners import listening, shown
from bitcasafs.server.lock import locked
from bitcasafs.server.portal import Portal

KEEP_ALIVE_SECONDS = 300
"""Clients keep connections for later; the longer side should be ours, so that none is closed under a request."""

END_SECONDS = 10
"""What requests get to end in, before their connections are cut."""

MOST_CONNECTIONS = 4096


def run(config: ServerConfig, ready: Callable[[str], None]) -> None:
    """Serve until told to end; `ready` is told the addresses once connections are taken. ConfigError, Locked."""
    heap.keep_small()
    make_private_folder(config.data)
    with locked(config.data), open_portal(config) as portal:
        addresses = config.listen
        if config.lease_linger_seconds is not None and config.lease_folder is not None:
            make_private_folder(config.lease_folder)
            addresses = (*addresses, lease_address(config.lease_folder))
        with listening(addresses) as sockets:
            names = " ".join(
                shown(address, bound, is_secure=config.is_secure)
                for address, bound in zip(config.listen, sockets, strict=False)
            )
            server = _Server(_uvicorn_config(config, build_app(portal)), lambda: ready(names))
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(config, portal, server, sockets))


async def _serve(config: ServerConfig, portal: Portal, server: _Server, sockets: list[socket]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.end)
    # What was imported lives as long as we do: the collector need not look at it again and again.
    gc.freeze()
    async with contextlib.AsyncExitStack() as stack:
        if config.lease_linger_seconds is not None:
            *sockets, lease_socket = sockets
            leases = Leases(config.lease_linger_seconds, server.end)
            listener = await asyncio.start_unix_server(leases.serve, sock=lease_socket)
            stack.callback(listener.close)
            leases.begin()
        house = asyncio.create_task(keep_house(portal))
        stack.callback(house.cancel)
        await server.serve(sockets)


class _Server(uvicorn.Server):
    """uvicorn with our sockets, our signals and a word when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again at its end, and the process would die of it."""
        yield

    def end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def _uvicorn_config(config: ServerConfig, app: ASGIApp) -> uvicorn.Config:
    made = uvicorn.Config(
        app,
        http=connection_class(config.limits.silence_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
        limit_concurrency=MOST_CONNECTIONS,
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
    )
    try:
        made.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS certificate or key cannot be used: {error}") from error
    if made.ssl is not None:
        made.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def data_folder(path: str) -> Path:
    """`--data` as a path that does not depend on where we are."""
    return Path(path).expanduser().absolute()
