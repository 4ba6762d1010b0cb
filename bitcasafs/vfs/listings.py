"""What the portal said of each folder, and whether that may still be believed.

Rows live here until the folder is listed again; freshness lives in a TTL cache beside them (which drops what expires,
so the rows must not). An expired listing is asked for once, however many wait for it, and shortly before its end when
the folder is in use, so that who works in a folder never waits for it. When the portal cannot be reached, or is slow to
answer, what is known is served as it is. Our own changes are written into the rows when they arrive on the portal, also
into an answer that was on its way at that moment.

Concurrency: listings are asked for by tasks of the nursery that the owner gives; rows change between two awaits.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import trio
from cachetools import TTLCache

from bitcasafs.errors import BitcasaError, NotFolder, NotFound, ProtocolError, Unavailable
from bitcasafs.remote.interface import Remote
from bitcasafs.values.items import Item
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.vfs.nodes import Nodes
from bitcasafs.writing.change import Number

log = logging.getLogger(__name__)

AWAY_SECONDS = 5.0
"""After a renewal that the portal did not answer, it is asked again so often, and nobody who wants a known folder waits
for that: else a walk through a thousand known folders would wait a thousand time-outs."""

PATIENCE_SECONDS = 0.9
"""For so long a renewal is waited for; then what is known is served: a person takes a second for an answer, and links
of half a second's delay answer within that."""

_AHEAD = 4
"""In the last quarter of its life a listing that is used is renewed ahead."""


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
        nursery: trio.Nursery,
        ledger: Ledger,
        *,
        ttl_seconds: float,
        pending: Callable[[Number], bool] = lambda number: False,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """`pending`: the node has changes that are not on the portal."""
        self._remote = remote
        self._nodes = nodes
        self._nursery = nursery
        self._ledger = ledger
        self._ttl_seconds = ttl_seconds
        self._pending = pending
        self._clock = clock
        self._rows: dict[Number, dict[str, Number]] = {}
        self._until: TTLCache[Number, float] = TTLCache(maxsize=1 << 20, ttl=ttl_seconds, timer=clock)
        self._flights: dict[Number, Flight] = {}
        self._is_away = False
        self._ask_again_at = -math.inf

    def known(self, folder: Number) -> Mapping[str, Number] | None:
        """The rows, fresh or not; None: this folder was never listed."""
        return self._rows.get(folder)

    def freshness_seconds(self, folder: Number) -> float:
        """For how long the rows may still be believed; 0 when they may not."""
        if folder not in self._until and self._is_only_here(folder):
            return self._ttl_seconds  # nobody else can know it
        return max(0.0, self._until.get(folder, 0.0) - self._clock())

    def _is_only_here(self, folder: Number) -> bool:
        return self._nodes.address(folder) is None

    async def fresh(self, folder: Number) -> Mapping[str, Number]:
        """The rows, asked for again when they expired. Waits for the network only then, and for known rows not long.

        Unavailable only when nothing is known of the folder; NotFound when it is gone from the portal.
        """
        rows = self._rows.get(folder)
        until = self._until.get(folder)
        if rows is not None and until is not None:
            if until - self._clock() < self._ttl_seconds / _AHEAD and not self._is_away:
                self._asked(folder)
            return rows
        if self._is_only_here(folder):
            return self._rows.setdefault(folder, {})
        if rows is None:
            return await self._first(folder)
        if self._is_away:
            if self._clock() >= self._ask_again_at:
                self._ask_again_at = self._clock() + AWAY_SECONDS
                self._asked(folder)
            return rows
        flight = self._asked(folder)
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                return await self._landed(folder, flight)
            except (Unavailable, ProtocolError):
                return self._rows.get(folder, rows)
        self._note_away("it takes long")
        return self._rows.get(folder, rows)

    async def _first(self, folder: Number) -> Mapping[str, Number]:
        """Rows of a folder that this mount has not listed yet: those of the last mount, when the portal is away."""
        kept = self._ledger.kept_listing(folder)
        flight = self._asked(folder)
        if kept is None:
            return await self._landed(folder, flight)
        if not self._is_away:
            with trio.move_on_after(PATIENCE_SECONDS):
                try:
                    return await self._landed(folder, flight)
                except (Unavailable, ProtocolError):
                    pass  # then the kept one
        if folder not in self._rows:
            self._note_away("the portal does not answer")
            kept = self._ledger.kept_listing(folder)  # again: a change of ours may have arrived meanwhile
            if kept is None:
                return await self._landed(folder, self._asked(folder))
            self._rows[folder] = self._laid(folder, kept, {})
        return self._rows[folder]

    def _laid(self, folder: Number, listed: Sequence[Item], edits: Mapping[str, Number | None]) -> dict[str, Number]:
        """Rows of what was listed, with our own changes since."""
        items = [item for item in listed if item.name not in edits]
        rows = {item.name: node.number for item, node in zip(items, self._nodes.meet(items, folder), strict=True)}
        rows.update({name: number for name, number in edits.items() if number is not None})
        return rows

    async def fill_in(self, numbers: Iterable[Number]) -> None:
        """Of nodes that only an earlier mount's changes tell of, the folders in which they are on the portal are listed
        once: users may see them in others. Waits for the network then; what cannot be asked stays a sketch.
        """
        for number in numbers:
            node = self._nodes.get(number)
            with contextlib.suppress(BitcasaError):
                for _ in range(2):  # an answer that was on its way when the change arrived tells nothing of it
                    if node is not None and node.sketched and node.parent is not None and not self._is_away:
                        await self._landed(node.parent, self._asked(node.parent))

    def _note_away(self, why: object) -> None:
        if not self._is_away:
            log.info("listings cannot be renewed (%s); what is known is shown", why)
        self._is_away, self._ask_again_at = True, self._clock() + AWAY_SECONDS

    def _asked(self, folder: Number) -> Flight:
        flight = self._flights.get(folder)
        if flight is None:
            flight = self._flights[folder] = Flight()
            self._nursery.start_soon(self._fly, folder, flight)
        return flight

    async def _landed(self, folder: Number, flight: Flight) -> Mapping[str, Number]:
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error
        return self._rows.get(folder, {})

    async def _fly(self, folder: Number, flight: Flight) -> None:
        """Raises nothing: whoever waits is told."""
        try:
            await self._ask(folder, flight)
            self._is_away = False
        except BitcasaError as error:
            flight.error = error
            if isinstance(error, NotFound | NotFolder):
                self.drop(folder)
            elif isinstance(error, Unavailable | ProtocolError):
                self._note_away(error)
        except Exception:
            log.exception("a folder could not be listed")
            flight.error = BitcasaError("an internal error while listing; the log has the details")
        finally:
            if flight.error is None and self._flights.get(folder) is flight and folder not in self._rows:
                flight.error = Unavailable("the listing was given up")
            del self._flights[folder]
            flight.landed.set()

    async def _ask(self, folder: Number, flight: Flight) -> None:
        address = self._nodes.address(folder)
        if address is None:
            raise NotFound("the folder is not on the portal any more")
        listing = await self._remote.list(address)
        rows = self._laid(folder, listing.items, flight.edits)
        if not flight.edits:
            self._ledger.keep_listing(folder, listing.items)
        before = self._rows.get(folder, {})
        self._rows[folder] = rows
        self._until[folder] = self._clock() + self._ttl_seconds
        for name, number in before.items():
            if rows.get(name) != number and self._stays(number, folder, name):
                rows.setdefault(name, number)

    def _stays(self, number: Number, folder: Number, name: str) -> bool:
        """Another machine deleted the node, or moved it to a folder that will tell; or a change of ours on a portal
        that cannot overwrite has taken it away for a moment. Of a node with unsent changes those decide, and until then
        it is seen where it was.
        """
        node = self._nodes.get(number)
        if node is None or node.superseded or (node.parent, node.name) != (folder, name):
            return False
        if self._pending(number):
            return True
        self._nodes.gone(node)
        return False

    def edit(self, folder: Number, name: str, number: Number | None) -> None:
        """A change of ours is on the portal: `name` leads to `number` now, or to nothing."""
        self._ledger.drop_listing(folder)
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
