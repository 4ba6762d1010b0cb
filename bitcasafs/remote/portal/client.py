"""`Remote` over HTTP: finds out what kind of portal it is, logs in, and hands each call to the part that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from bitcasafs.errors import Unavailable
from bitcasafs.logs import Secret
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.remote.portal.discovery import capabilities_of, discover
from bitcasafs.remote.portal.extended import ExtendedChanges
from bitcasafs.remote.portal.historical import HistoricalChanges
from bitcasafs.remote.portal.reads import Reads
from bitcasafs.remote.portal.session import Session
from bitcasafs.remote.portal.transport import Transport
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Place, Put


@dataclass(frozen=True, slots=True)
class _Connected:
    """What is known of a portal after the first login; it stays for the life of the remote."""

    capabilities: Capabilities
    reads: Reads
    changes: ExtendedChanges | HistoricalChanges


class PortalRemote:
    """`transport` is this remote's own from now on: `aclose` closes it."""

    def __init__(self, transport: Transport, user: str, password: Callable[[], Secret]) -> None:
        self._transport = transport
        self._session = Session(transport, user, password)
        self._connected: _Connected | None = None
        self._connecting = trio.Lock()

    @property
    def session(self) -> Session:
        """For statistics and tests: how often it logged in."""
        return self._session

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities() if self._connected is None else self._connected.capabilities

    async def connect(self) -> Capabilities:
        return (await self._connection()).capabilities

    async def profile(self) -> Profile:
        return await (await self._connection()).reads.profile()

    async def roots(self) -> Listing:
        return await (await self._connection()).reads.roots()

    async def list(self, folder: Address) -> Listing:
        return await (await self._connection()).reads.list(folder)

    async def look(self, target: Address | Place) -> Item:
        connection = await self._connection()
        try:
            return await connection.changes.look(target)
        except Unavailable as error:
            error.applied = False  # a look changes nothing
            raise

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        await (await self._connection()).reads.fetch(content, start, stop, sink)

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        if source.size_bytes != put.size_bytes:
            raise ValueError(f"the source has {source.size_bytes} bytes, not {put.size_bytes}")
        changes = (await self._connection()).changes
        return await changes.store(put, source, resume=resume, on_step=on_step, progress=progress)

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        return await (await self._connection()).changes.apply(operations)

    async def aclose(self) -> None:
        await self._session.logout()
        await self._transport.aclose()

    async def _connection(self) -> _Connected:
        """The lock's holder waits for the network; who waits for it is cancelled like anybody else, and when the
        holder fails, the next one tries."""
        if self._connected is not None:
            return self._connected
        async with self._connecting:
            if self._connected is None:
                self._connected = await self._find_out()
            return self._connected

    async def _find_out(self) -> _Connected:
        try:
            extensions = await discover(self._transport)
        except Unavailable as error:
            error.applied = False
            raise
        # A page of some gateway looks like a historical portal: only one that lets us in is believed.
        await self._session.ensure()
        if extensions is not None:
            self._session.expect_explanations()
        reads = Reads(self._session, extended=extensions is not None)
        capabilities = capabilities_of(extensions)
        if extensions is not None and extensions.batch is not None:
            return _Connected(capabilities, reads, ExtendedChanges(self._session, extensions.batch))
        return _Connected(capabilities, reads, HistoricalChanges(self._session, reads))


def _check_protocol(transport: Transport, user: str, password: Callable[[], Secret]) -> Remote:
    return PortalRemote(transport, user, password)
