"""What goes next: the outbox's records through `order`, `settle`, `gather` and `parcels`, with their memory.

Who uses: the scheduler alone, between two awaits. Times are trio's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import trio
from cachetools import TTLCache

from bitcasafs.writing.change import ChangeKind, Number, Record
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.deliveries import Deliveries
from bitcasafs.writing.gather import QUIET_SECONDS, Pace
from bitcasafs.writing.order import sendable
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.parcels import ParcelLimits, may_share, parcels
from bitcasafs.writing.settle import RECENT_SECONDS, Waiting, settles

BATCHES_AT_ONCE = 4
"""Requests with changes of names and attributes on their way: one is answered while the next is carried out."""
NAMES_AT_ONCE = 16
"""The same where each change is a request: 16 at a time are worth a factor of 11 to 14 over 20 ms (measured)."""
PARCELS = ParcelLimits()


class Choosing:
    """`held_open`: a handle of the node is open for writing."""

    def __init__(
        self,
        outbox: Outbox,
        contents: Contents,
        deliveries: Deliveries,
        held_open: Callable[[Number], bool],
        *,
        uploads: int,
        settle_seconds: float,
    ) -> None:
        self._outbox, self._contents, self._deliveries = outbox, contents, deliveries
        self._held_open, self._uploads, self._settle_seconds = held_open, uploads, settle_seconds
        self._not_before: dict[int, float] = {}
        self._settling: dict[int, Waiting] = {}
        self._sent_lately: TTLCache[Number, bool] = TTLCache(1 << 14, RECENT_SECONDS, timer=trio.current_time)
        self._pace = Pace(-math.inf, -math.inf)
        self._touches = 0
        self._look_at = math.inf
        self._next_look = -math.inf
        self.kernel_gone = False
        """No handle is open any more."""

    # --- when to look -----------------------------------------------------------------------------------------------

    def wants_look(self) -> bool:
        """Something has changed: whether to look now. In a burst of changes not for each."""
        now = trio.current_time()
        if self._touches != self._outbox.touches:
            self._touches = self._outbox.touches
            self._pace = replace(self._pace, touched_at=now)
        return now >= self._next_look or self._somebody_waits()

    def next_look(self) -> float:
        """When to look though nothing changes. To be asked after each look."""
        now = trio.current_time()
        self._next_look = now + QUIET_SECONDS if self._pace.is_busy(now) else -math.inf
        due = min([*self._not_before.values(), self._look_at])
        return min(due, self._next_look) if self._next_look > now else due

    def _somebody_waits(self) -> bool:
        return bool(self._outbox.urgent) or self.kernel_gone or self._outbox.oldest_id <= self._deliveries.urgent_up_to

    # --- what became of it ------------------------------------------------------------------------------------------

    def began(self, record: Record) -> None:
        self._settling.pop(record.id, None)

    def arrived(self, record: Record) -> None:
        if record.change.kind is ChangeKind.CONTENT:
            self._sent_lately[record.change.node] = True

    def postpone(self, record: Record, seconds: float) -> None:
        """It failed, and is tried again in so long."""
        self._not_before[record.id] = trio.current_time() + seconds

    # --- the choice -------------------------------------------------------------------------------------------------

    def choose(self, *, batches: bool, uploading: int, naming: int) -> list[tuple[Record, ...]]:
        """Parcels that may go now. `batches`: several changes may share a request; `uploading`, `naming`: so many are
        on their way with content, and with others.
        """
        now = trio.current_time()
        self._look_at = math.inf
        for number, due in list(self._not_before.items()):
            if due <= now or number in self._deliveries.hurried:
                del self._not_before[number]
        self._deliveries.hurried.clear()
        limits = PARCELS if batches else None
        hold_until = None
        if limits is not None and not self._somebody_waits():
            hold_until = self._pace.hold_until(now, self._settle_seconds, self._outbox.ready_count)
        uploads = max(0, self._uploads - uploading)
        names = max(0, (BATCHES_AT_ONCE if limits else NAMES_AT_ONCE) - naming)
        each = limits.records if limits else 1

        def held(record: Record) -> bool:
            if hold_until is not None and limits is not None and may_share(record, limits):
                self._look_at = min(self._look_at, hold_until)
                return True
            return self._is_held(record, now)

        chosen = sendable(
            self._outbox.ready(contents=True),
            self._outbox.ready(contents=False),
            self._outbox,
            held=held,
            slots=uploads * each,
            others_slots=names * each,
            not_yet=self._not_before.keys(),
        )
        if limits is None:
            chosen = self._one_folder_alone(chosen, uploading + naming)
        if limits is not None and any(may_share(record, limits) for record in chosen):
            self._pace = replace(self._pace, parcel_at=now)
        return parcels(chosen, limits, uploads=uploads, names=names)

    def _one_folder_alone(self, chosen: list[Record], under_way: int) -> list[Record]:
        """Where items are known by their paths, nothing else goes while a folder is renamed: the paths of all that is
        in it change at some moment of that.
        """
        if self._outbox.index.moving_folders:
            return []
        folders = [one for one in chosen if one.change.kind is ChangeKind.MOVE and one.change.fields.folder]
        if not folders:
            return chosen
        return [] if under_way else folders[:1]

    def _is_held(self, record: Record, now: float) -> bool:
        """Its content may still be written to, or is likely to change in a moment. What may be on the portal already is
        only repeated: that waits for nobody.
        """
        if self._contents.under_way.is_wanted(record.id):
            return True
        if self.kernel_gone or record.unsure or record.id in self._outbox.urgent:
            return False
        if record.change.kind is ChangeKind.CONTENT and self._is_held_open(record):
            return True
        if record.id <= self._deliveries.urgent_up_to or not settles(
            record, sent_lately=record.change.node in self._sent_lately
        ):
            return False
        waiting = self._settling.get(record.id) or Waiting(record.generation, now, now)
        waiting = self._settling[record.id] = waiting.seen(record.generation, now)
        due = waiting.due(self._settle_seconds)
        if due <= now:  # it may still have to wait for others: their end is a reason to look, the clock is none
            return False
        self._look_at = min(self._look_at, due)
        return True

    def _is_held_open(self, record: Record) -> bool:
        return self._held_open(record.change.node) and self._contents.record(record.change.node) == record
