"""What the portal said of each folder, and whether that may still be believed.

Rows live here until the folder is listed again; freshness lives in a TTL cache beside them (which drops what expires,
so the rows must not). An expired listing is asked for once, however many wait for it; when the portal cannot be reached
what is known is served as it is. Our own changes are written into the rows when they arrive on the portal, also into
an answer that was on its way at that moment.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio
from cachetools import TTLCache

from bitcasafs.errors import BitcasaError, NotFolder, NotFound, ProtocolError, Unavailable
from bitcasafs.remote.interface import Remote
from bitcasafs.vfs.nodes import Nodes
from bitcasafs.writing.change import Number

log = logging.getLogger(__name__)

AWAY_SECONDS = 5.0
"""After a renewal that the portal did not answer, what is known is served at once for so long: else a walk through a
thousand known folders would wait a thousand time-outs."""


@dataclass(slots=True)
class Flight:
    """A listing that was asked for and has not come yet."""

    landed: trio.Event = field(default_factory=trio.Event)
    error: BitcasaError | None = None
    edits: dict[str, Number | None] = field(default_factory=dict)
    """Names that our own changes took or gave up meanwhile."""


class Listings:
    def __init__(
        self,
        remote: Remote,
        nodes: Nodes,
        *,
        ttl_seconds: float,
        pending: Callable[[Number], bool] = lambda number: False,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """`pending`: the node has changes that are not on the portal."""
        self._remote = remote
        self._nodes = nodes
        self._ttl_seconds = ttl_seconds
        self._pending = pending
        self._clock = clock
        self._rows: dict[Number, dict[str, Number]] = {}
        self._until: TTLCache[Number, float] = TTLCache(maxsize=1 << 20, ttl=ttl_seconds, timer=clock)
        self._flights: dict[Number, Flight] = {}
        self._away_until = -math.inf

    def known(self, folder: Number) -> Mapping[str, Number] | None:
        """The rows, fresh or not; None: this folder was never listed."""
        return self._rows.get(folder)

    def freshness_seconds(self, folder: Number) -> float:
        """For how long the rows may still be believed; 0 when they may not."""
        return max(0.0, self._until.get(folder, 0.0) - self._clock())

    async def fresh(self, folder: Number) -> Mapping[str, Number]:
        """The rows, asked for again when they expired. Waits for the network only then.

        Unavailable only when nothing is known of the folder; NotFound when it is gone from the portal.
        """
        rows = self._rows.get(folder)
        if rows is not None and (folder in self._until or self._clock() < self._away_until):
            return rows
        address = self._nodes.address(folder)
        if address is None:  # made here, not on the portal yet
            return self._rows.setdefault(folder, {})
        flight = self._flights.get(folder)
        if flight is None:
            flight = self._flights[folder] = Flight()
            try:
                await self._ask(folder, flight)
            finally:
                del self._flights[folder]
                flight.landed.set()
        else:
            await flight.landed.wait()
        if flight.error is None and folder in self._rows:
            return self._rows[folder]
        if rows is not None and isinstance(flight.error, Unavailable | ProtocolError):
            log.info("a listing could not be renewed: %s", flight.error)
            self._away_until = self._clock() + AWAY_SECONDS
            return rows
        raise flight.error or Unavailable("the listing was given up")

    async def _ask(self, folder: Number, flight: Flight) -> None:
        address = self._nodes.address(folder)
        assert address is not None
        try:
            listing = await self._remote.list(address)
        except BitcasaError as error:
            flight.error = error
            if isinstance(error, NotFound | NotFolder):
                self.drop(folder)
            return
        items = [item for item in listing.items if item.name not in flight.edits]
        rows = {item.name: node.number for item, node in zip(items, self._nodes.meet(items, folder), strict=True)}
        rows.update({name: number for name, number in flight.edits.items() if number is not None})
        before = self._rows.get(folder, {})
        self._rows[folder] = rows
        self._until[folder] = self._clock() + self._ttl_seconds
        for name, number in before.items():
            if rows.get(name) != number:
                self._vanished(number, folder, name)

    def _vanished(self, number: Number, folder: Number, name: str) -> None:
        """Another machine deleted the node, or moved it to a folder that will tell; or a change of ours on a portal
        that cannot overwrite has taken it away for a moment: of a node with unsent changes those decide.
        """
        if self._pending(number):
            return
        try:
            node = self._nodes[number]
        except BitcasaError:
            return
        if node.parent == folder and node.name == name and not node.superseded:
            self._nodes.gone(node)

    def edit(self, folder: Number, name: str, number: Number | None) -> None:
        """A change of ours is on the portal: `name` leads to `number` now, or to nothing."""
        flight = self._flights.get(folder)
        if flight is not None:
            flight.edits[name] = number
        rows = self._rows.get(folder)
        if rows is None:
            return
        if number is None:
            rows.pop(name, None)
        else:
            rows[name] = number

    def made(self, folder: Number) -> None:
        """A folder that we made: its rows are known to be none."""
        self._rows[folder] = {}
        self._until[folder] = self._clock() + self._ttl_seconds

    def expire(self, folder: Number) -> None:
        """Ask again at the next use."""
        self._until.pop(folder, None)

    def drop(self, folder: Number) -> None:
        """The folder is gone."""
        self._rows.pop(folder, None)
        self._until.pop(folder, None)
