"""A client that stops reading is cut off, and what its answer was read from is let go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.types import Receive, Scope, Send

from bitcasafs.server.answers import Streamed
from bitcasafs.server.connection import connection_class

SILENCE_SECONDS = 0.2
PIECE = bytes(64 * 1024)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield PIECE


def test_a_reader_that_stops_reading_is_cut_off_and_its_source_closed() -> None:
    async def scenario() -> None:
        closed = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await Streamed(endless(), closed.set)(scope, receive, send)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(app, http=connection_class(SILENCE_SECONDS), lifespan="off", log_config=None)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve([listener]))
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                async with asyncio.timeout(10):
                    await closed.wait()
            server.should_exit = True
            await serving

    asyncio.run(scenario())
