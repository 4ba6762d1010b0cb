"""Sends the outbox: picks what may go, in parallel, repeats what may go better later, settles what came of it.

Concurrency: one task per parcel that is on its way, owned by the nursery of `run`; all state changes happen between two
awaits. Cancelling `run` loses nothing: what was on its way is sent again with its key by the next mount.

What becomes of an attempt: the portal has it, or it said no (`Refused`: the resolver looks what that means, and what it
cannot settle is a problem, that somebody decides about), or anything else (the network, the session, this disk), which
says nothing of the change: it is tried again.
"""

from __future__ import annotations

import enum
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio
from cachetools import TTLCache

from bitcasafs.backoff import Backoff
from bitcasafs.errors import BitcasaError, NoSpace, NotFound, Refused, Unavailable
from bitcasafs.values.items import Item
from bitcasafs.writing.change import ChangeKind, Number, Record, State
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.deliveries import Deliveries
from bitcasafs.writing.order import sendable
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.parcels import ParcelLimits, parcels
from bitcasafs.writing.rate import Rate
from bitcasafs.writing.sender import Sender
from bitcasafs.writing.settle import RECENT_SECONDS, Waiting, settles

log = logging.getLogger(__name__)

SPACE_SECONDS = 1.0
"""How often it is looked whether a full disk under the outbox has room again."""
LOG_BYTES = 16 << 20
"""The outbox's log is folded into its database beyond that: after 600 files of a tree that is copied (28 KB each)."""
GATHER_SECONDS = 0.05
"""Between the beginnings of two parcels, unless the later is full: a request costs this process a millisecond of CPU,
which whoever is copying a tree waits for; a twentieth of a second nobody does."""
BATCHES_AT_ONCE = 4
"""Requests with changes of names and attributes on their way: one is answered while the next is carried out."""
NAMES_AT_ONCE = 16
"""The same where each change is a request: 16 at a time are worth a factor of 11 to 14 over 20 ms (measured)."""
LOOKING_SECONDS, LOOKING_SHARE = 0.02, 8
"""A longer look (at thousands of changes that cannot go yet) is followed by a pause so many times as long."""
PARCELS = ParcelLimits()


class Handled(enum.Enum):
    """The change was turned into something else in the outbox, or taken out of it."""

    HANDLED = enum.auto()


class Resolver(Protocol):
    """Who knows what a refusal means for the tree: the vfs. `writing.conflicts` is its policy."""

    async def resolve(self, record: Record, error: Refused) -> Item | BitcasaError | Handled | None:
        """What became of a change that the portal refused: its item (None of a delete) when the portal has it after
        all, HANDLED, or the error that makes it a problem. Looks at the portal: Unavailable leaves it to be repeated.
        """
        ...


class Witness(Protocol):
    """Who is told what became of changes: the vfs. Called between two awaits; must not raise or wait."""

    def held_open(self, node: Number) -> bool:
        """A handle is open for writing."""
        ...

    def sent(self, record: Record, item: Item | None) -> None:
        """The change is on the portal; `item` is what it made (None after a delete). The record still exists, and with
        it content of what the change took away: the witness lets go of that.
        """
        ...

    def refused(self, record: Record, error: BitcasaError) -> None:
        """The portal said no to a change that nobody waits for; it stays as a problem."""
        ...


@dataclass(frozen=True, slots=True)
class Sending:
    """One content on its way."""

    node: Number
    sent_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SchedulerStatistics:
    sending: tuple[Sending, ...]
    sent_changes: int
    sent_bytes: int
    failed_attempts: int
    last_error: str | None
    bytes_per_second: float = 0.0


Outcome = Item | BitcasaError | None


class Scheduler:
    def __init__(
        self,
        outbox: Outbox,
        contents: Contents,
        deliveries: Deliveries,
        sender: Sender,
        witness: Witness,
        resolver: Resolver,
        *,
        backoff: Backoff,
        random_unit: Callable[[], float],
        uploads: int = 4,
        settle_seconds: float = 1.0,
    ) -> None:
        self._outbox, self._contents, self._deliveries, self._sender = outbox, contents, deliveries, sender
        self._witness, self._resolver = witness, resolver
        self._backoff, self._random_unit = backoff, random_unit
        self._uploads = uploads
        self._settle_seconds = settle_seconds
        self._wake = trio.Event()
        self._not_before: dict[int, float] = {}
        self._settling: dict[int, Waiting] = {}
        self._sent_lately: TTLCache[Number, bool] = TTLCache(1 << 14, RECENT_SECONDS, timer=trio.current_time)
        self._progress: dict[int, int] = {}
        self.rate = Rate()
        self._sent_changes = self._sent_bytes = self._failed = 0
        self._last_error: str | None = None
        self._uploading = self._naming = 0
        self._parcel_at = -math.inf
        self._look_at = math.inf
        self._kernel_gone = False
        self._log_limit = LOG_BYTES
        outbox.watch(self.wake)

    # --- from outside ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look again what may be sent: a handle was closed, a record changed."""
        self._wake.set()

    def end_of_writers(self) -> None:
        """The kernel is gone: no handle is open any more."""
        self._kernel_gone = True
        self.wake()

    def statistics(self) -> SchedulerStatistics:
        sending = []
        for number, done in self._progress.items():
            record = self._outbox.get(number)
            if record is not None and record.change.kind is ChangeKind.CONTENT:
                sending.append(Sending(record.change.node, done, record.change.fields.size_bytes or 0))
        return SchedulerStatistics(
            tuple(sending), self._sent_changes, self._sent_bytes, self._failed, self._last_error,
            self.rate.per_second(trio.current_time()),
        )  # fmt: skip

    # --- the loop -------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._wake = trio.Event()
                began = time.perf_counter()
                try:
                    for parcel in self._choose():
                        nursery.start_soon(self._send, self._under_way(parcel))
                    looking_again = min([*self._not_before.values(), self._look_at])
                except BitcasaError as error:  # the disk of the outbox
                    self._last_error = str(error)
                    looking_again = trio.current_time() + SPACE_SECONDS
                if self._outbox.log_bytes > self._log_limit:
                    await trio.to_thread.run_sync(self._outbox.checkpoint)
                    self._log_limit = self._outbox.log_bytes + LOG_BYTES
                cost_seconds = time.perf_counter() - began
                if cost_seconds > LOOKING_SECONDS:
                    await trio.sleep(min(1.0, LOOKING_SHARE * cost_seconds))
                with trio.move_on_at(looking_again):
                    await self._wake.wait()

    def _under_way(self, parcel: tuple[Record, ...]) -> list[Record]:
        with self._outbox.together():
            sending = [record.moved(State.SENDING, attempts=record.attempts + 1) for record in parcel]
            found = [self._outbox.update(record) for record in sending]
        for record in parcel:
            self._settling.pop(record.id, None)
        self._count_under_way(parcel, 1)
        return found

    def _count_under_way(self, parcel: Sequence[Record], one: int) -> None:
        if parcel[0].change.kind is ChangeKind.CONTENT:
            self._uploading += one
        else:
            self._naming += one

    def _choose(self) -> list[tuple[Record, ...]]:
        now = trio.current_time()
        self._look_at = math.inf
        for number, due in list(self._not_before.items()):
            if due <= now or number in self._deliveries.hurried:
                del self._not_before[number]
        self._deliveries.hurried.clear()
        limits = PARCELS if self._sender.batches else None
        if limits is not None and self._gathers(now, limits):
            return []
        uploads = max(0, self._uploads - self._uploading)
        names = max(0, (BATCHES_AT_ONCE if limits else NAMES_AT_ONCE) - self._naming)
        each = limits.records if limits else 1
        chosen = sendable(
            self._outbox.ready(contents=True),
            self._outbox.ready(contents=False),
            self._outbox,
            held=lambda record: self._is_held(record, now),
            slots=uploads * each,
            others_slots=names * each,
            not_yet=self._not_before.keys(),
        )
        if chosen:
            self._parcel_at = now
        return parcels(chosen, limits, uploads=uploads, names=names)

    def _gathers(self, now: float, limits: ParcelLimits) -> bool:
        """Others are about to come, to share a request with what waits."""
        due = self._parcel_at + GATHER_SECONDS
        oldest = next(self._outbox.ready(contents=True), None)
        somebody_waits = self._outbox.urgent or (oldest is not None and oldest.id <= self._deliveries.urgent_up_to)
        if due <= now or somebody_waits or self._outbox.ready_count >= limits.records:
            return False
        self._look_at = due
        return True

    def _is_held(self, record: Record, now: float) -> bool:
        """Its content may still be written to, or is likely to change in a moment. What may be on the portal already is
        only repeated: that waits for nobody.
        """
        if self._kernel_gone or record.unsure or record.id in self._outbox.urgent:
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
        self._look_at = min(self._look_at, due)
        return due > now

    def _is_held_open(self, record: Record) -> bool:
        return self._witness.held_open(record.change.node) and self._contents.record(record.change.node) == record

    async def _send(self, parcel: list[Record]) -> None:
        """One attempt, and what follows from its outcomes. Raises nothing but Cancelled."""
        try:
            self._progress.update((record.id, 0) for record in parcel)
            outcomes = await (self._attempt(parcel[0]) if len(parcel) == 1 else self._attempt_together(parcel))
            for record, outcome in zip(parcel, outcomes, strict=True):
                await self._settle_outcome(record, outcome)
        finally:
            self._count_under_way(parcel, -1)
            for record in parcel:
                self._progress.pop(record.id, None)
        self.wake()

    async def _settle_outcome(self, record: Record, outcome: Outcome) -> None:
        settled: Outcome | Handled = outcome
        if isinstance(outcome, Refused) and not self._deliveries.is_waited_for(record.id):
            self._count_failure(outcome)
            settled = await self._resolved(record, outcome)
        if not isinstance(settled, BitcasaError):
            self._deliveries.note_progress()
        if isinstance(settled, Handled):
            return
        if not isinstance(settled, BitcasaError):
            self._tell_witness(record, settled)
        while True:
            try:
                self._conclude(record, settled)
                return
            except BitcasaError as error:  # the disk of the outbox; what became of the change must not be lost
                log.warning("what became of a change cannot be recorded: %s", error)
                await trio.sleep(SPACE_SECONDS)

    async def _resolved(self, record: Record, error: Refused) -> Outcome | Handled:
        try:
            return await self._resolver.resolve(record, error)
        except BitcasaError as trouble:
            if isinstance(trouble, Unavailable):
                trouble.applied = False
            return trouble if not isinstance(trouble, Refused) else error
        except Exception:
            log.exception("what a refusal means could not be found out")
            return error

    async def _attempt_together(self, parcel: list[Record]) -> Sequence[Outcome]:
        try:
            return await self._sender.send_together(parcel)
        except Exception as error:  # noqa: BLE001 - sorted in one place
            return [_sorted(error, parcel[0])] * len(parcel)

    async def _attempt(self, record: Record) -> Sequence[Outcome]:
        def progress(done: int) -> None:
            self._note_bytes(record, done)
            self._progress[record.id] = done
            self._deliveries.note_progress()

        try:
            return [await self._sender.send(record, progress)]
        except NotFound as error:
            return [None if record.change.kind is ChangeKind.DELETE else error]
        except Exception as error:  # noqa: BLE001 - sorted in one place
            return [_sorted(error, record)]

    def _tell_witness(self, record: Record, item: Item | None) -> None:
        try:
            self._witness.sent(record, item)
        except Exception:
            log.exception("a change is on the portal, but its outcome could not be shown here")

    def _conclude(self, record: Record, outcome: Outcome) -> None:
        """NoSpace: nothing is recorded; call it again."""
        if isinstance(outcome, Refused):
            self._refuse(record, outcome)
        elif isinstance(outcome, BitcasaError):
            self._postpone(record, outcome)
        else:
            self._settle(record, outcome)

    def _settle(self, record: Record, item: Item | None) -> None:
        if record.change.kind is ChangeKind.CONTENT:
            self._contents.arrived(record, item)
            self._sent_lately[record.change.node] = True
        elif self._outbox.get(record.id) is not None:
            self._outbox.remove(record.id)
        self._note_bytes(record, record.change.fields.size_bytes or 0)
        self._sent_changes += 1
        self._sent_bytes += record.change.fields.size_bytes or 0
        self._deliveries.arrived(record, item)

    def _note_bytes(self, record: Record, done: int) -> None:
        """So much of a content is over the link; of what shares a request that is known at its end. An upload that
        began again reports less than before.
        """
        self.rate.add(max(0, done - self._progress.get(record.id, 0)), trio.current_time())

    def _postpone(self, record: Record, error: BitcasaError) -> None:
        current = self._outbox.get(record.id)
        maybe_there = isinstance(error, Unavailable) and error.applied is not False
        if current is not None and not self._deliveries.give(current, error, taken_back=not maybe_there):
            wish = error.retry_after_seconds if isinstance(error, Unavailable) else None
            delay = self._backoff.delay(current.attempts, wish, self._random_unit())
            self._not_before[record.id] = trio.current_time() + (self._backoff.cap_seconds if delay is None else delay)
            self._outbox.update(current.moved(State.READY, unsure=current.unsure or maybe_there))
        self._count_failure(error)

    def _refuse(self, record: Record, error: Refused) -> None:
        current = self._outbox.get(record.id)
        if current is not None and not self._deliveries.give(current, error, taken_back=True):
            if current.change.kind is ChangeKind.CONTENT and self._contents.give_up(current):
                return
            problem = self._outbox.update(current.moved(State.PROBLEM, reason=str(error), unsure=False))
            self._deliveries.note_refusal(problem, error)
            self._witness.refused(problem, error)

    def _count_failure(self, error: BitcasaError) -> None:
        self._failed += 1
        self._last_error = str(error)


def _sorted(error: Exception, record: Record) -> BitcasaError:
    """What befell an attempt as one of our kinds."""
    if isinstance(error, BitcasaError):
        return error
    if isinstance(error, OSError):
        return NoSpace(f"the staging folder: {error.strerror or error}")
    log.error("a change could not be sent: %s", record.change.kind.value, exc_info=error)
    return Refused("an internal error; the log has the details")
