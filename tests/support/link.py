"""A slow link as a proxy, without root: TCP or unix sockets on both sides.

Used by tests (`Link.serve` in a nursery) and by benches (`link_process.LinkProcess`, a process of its own, so that the
emulator does not share the measured program's thread). Connecting costs a round trip, as a TCP handshake does: the
kernel accepts at once, and the first bytes wait. A connection that the upstream refuses is reset after that.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import trio

from tests.support.endpoints import LOOPBACK, Door, Endpoint, connect, reset
from tests.support.link_profile import FIBER, LOOP, WAN, LinkProfile
from tests.support.wire import LaneStatistics, Wire

__all__ = ["FIBER", "LOOP", "WAN", "Cut", "Link", "LinkProfile", "LinkStatistics"]

SOCKET_BUFFER_BYTES = 256 * 1024
"""Of each socket here: small beside what a test sends, so that a slow link is felt by the sender."""


class Cut(enum.Enum):
    SILENT = "silent"
    """Nothing arrives and nobody is told; connecting seems to work, and waits."""
    RESET = "reset"
    """Connections are reset and new ones refused."""


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Since the start; `up` is from client to upstream. `refused`: connections that the upstream did not take."""

    connections: int
    open_connections: int
    refused: int
    up: LaneStatistics
    down: LaneStatistics


class Link:
    """`async with trio.open_nursery() as n: endpoint = await n.start(link.serve)`."""

    def __init__(self, upstream: Endpoint, profile: LinkProfile = LOOP, listen: Endpoint = LOOPBACK) -> None:
        self._upstream = upstream
        self._wire = Wire(profile)
        self._door = Door(listen, SOCKET_BUFFER_BYTES)
        self._open: set[trio.CancelScope] = set()
        self._connections = 0
        self._refused = 0

    @property
    def endpoint(self) -> Endpoint:
        return self._door.endpoint

    @property
    def profile(self) -> LinkProfile:
        return self._wire.profile

    @profile.setter
    def profile(self, profile: LinkProfile) -> None:
        self._wire.profile = profile

    def cut(self, how: Cut = Cut.SILENT) -> None:
        """Until `restore`; what a silent cut held back then arrives."""
        if how is Cut.SILENT:
            self._wire.cut()
            return
        self._door.shut()
        for scope in self._open:
            scope.cancel()

    def restore(self) -> None:
        self._wire.restore()
        self._door.open()

    def statistics(self) -> LinkStatistics:
        return LinkStatistics(
            self._connections, len(self._open), self._refused, self._wire.up.statistics, self._wire.down.statistics
        )

    async def serve(self, *, task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started with the endpoint, its real port in it."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._wire.run)
            await self._door.serve(self._serve_connection, task_status=task_status)

    async def _serve_connection(self, client: trio.SocketStream) -> None:
        self._connections += 1
        whole = False
        upstream: trio.SocketStream | None = None
        with trio.CancelScope() as scope:
            self._open.add(scope)
            try:
                await self._wire.handshake()
                upstream = await connect(self._upstream, SOCKET_BUFFER_BYTES)
                await self._wire.carry(client, upstream)
                whole = True
            except* trio.BrokenResourceError:
                pass
            except* OSError:
                self._refused += 1
            finally:
                self._open.discard(scope)
                for stream in (client, upstream):
                    if stream is not None and whole:
                        stream.socket.close()
                    elif stream is not None:
                        reset(stream)
