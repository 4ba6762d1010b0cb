"""Sends the outbox: picks what may go, in parallel, repeats what may go better later, settles what came of it.

Concurrency: one task per change that is on its way, owned by the nursery of `run`; all state changes happen between two
awaits. Cancelling `run` loses nothing: what was on its way is sent again with its key by the next mount.

What becomes of an attempt: the portal has it, or it said no (`Refused`: a problem, that somebody decides about), or
anything else (the network, the session, this disk), which says nothing of the change: it is tried again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from bitcasafs.backoff import Backoff
from bitcasafs.errors import BitcasaError, NoSpace, NotFound, Refused, TimedOut, Unavailable
from bitcasafs.values.items import Item
from bitcasafs.writing.change import Change, ChangeKind, Number, Record, State
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.order import sendable, stuck
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.parcels import ParcelLimits, parcels
from bitcasafs.writing.rate import Rate
from bitcasafs.writing.sender import Sender

log = logging.getLogger(__name__)

SPACE_SECONDS = 1.0
"""How often it is looked whether a full disk under the outbox has room again."""
LOG_BYTES = 16 << 20
"""The outbox's log is folded into its database beyond that: after 600 files of a tree that is copied (28 KB each)."""


PARCELS = ParcelLimits()


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


class _Waiter:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.item: Item | None = None
        self.error: BitcasaError | None = None


class Scheduler:
    def __init__(
        self,
        outbox: Outbox,
        contents: Contents,
        sender: Sender,
        witness: Witness,
        *,
        backoff: Backoff,
        random_unit: Callable[[], float],
        uploads: int = 4,
        timeout_seconds: float = 15.0,
    ) -> None:
        self._outbox, self._contents, self._sender, self._witness = outbox, contents, sender, witness
        self._backoff, self._random_unit = backoff, random_unit
        self._uploads = uploads
        self._timeout_seconds = timeout_seconds
        self._wake = trio.Event()
        self._not_before: dict[int, float] = {}
        self._waiters: dict[int, _Waiter] = {}
        self._progress: dict[int, int] = {}
        self.rate = Rate()
        self._moved = 0
        self._sent_changes = self._sent_bytes = self._failed = 0
        self._last_error: str | None = None
        self._uploading = 0
        self._kernel_gone = False
        self._log_limit = LOG_BYTES
        outbox.watch(self.wake)

    # --- from outside ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look again what may be sent: a handle was closed, a record changed."""
        self._wake.set()

    def at_once(self, numbers: Iterable[int]) -> None:
        """Forget the back-off of these changes."""
        for number in numbers:
            self._not_before.pop(number, None)
        self.wake()

    def end_of_writers(self) -> None:
        """The kernel is gone: no handle is open any more."""
        self._kernel_gone = True
        self.wake()

    async def carry_out(self, change: Change) -> Item | None:
        """Append a change and wait until it is on the portal.

        When the portal refuses it, or cannot be reached, it is taken back and the reason raised; TimedOut when
        nothing has moved for the mount's time-out while it waited for its turn. When the answer of a move, delete or
        change of attributes is lost the reason is raised, and the change stays, to be asked for again: until its
        outcome is known nothing else of the node may go.
        """
        record = self._outbox.append(change)
        waiter = self._waiters[record.id] = _Waiter()
        try:
            while not waiter.done.is_set():
                moved = self._moved
                with trio.move_on_after(self._timeout_seconds):
                    await waiter.done.wait()
                    break
                current = self._outbox.get(record.id)
                if moved == self._moved and current is not None and current.state is not State.SENDING:
                    raise TimedOut("the changes that this one waits for do not reach the portal", applied=False)
        finally:
            del self._waiters[record.id]
            current = self._outbox.get(record.id)
            if current is not None and current.state is not State.SENDING and not current.unsure:
                self._outbox.remove(record.id)  # too late, or nobody waits any more
        if waiter.error is not None:
            raise waiter.error
        return waiter.item

    async def drained(self, up_to: int | None = None) -> None:
        """Wait until no change with id <= `up_to` (None: that exists now) can still be sent; problems stay."""
        last = self._outbox.newest_id if up_to is None else up_to
        while any(record.id <= last and not self._stuck(record) for record in self._outbox):
            await self._changed()

    def _stuck(self, record: Record) -> bool:
        if not self._outbox.statistics().problems:
            return False
        return record.state is not State.OPEN and stuck(record, self._outbox)

    async def settled(self, *nodes: Number) -> None:
        """Wait until of none of the nodes anything is on its way, or may have arrived unanswered.

        TimedOut when nothing has moved for the mount's time-out.
        """
        for record in (record for node in nodes for record in self._outbox.of_node(node)):
            if record.unsure:  # somebody waits: try at once
                self._not_before.pop(record.id, None)
                self.wake()
        while any(
            record.state is State.SENDING or record.unsure for node in nodes for record in self._outbox.of_node(node)
        ):
            moved = self._moved
            with trio.move_on_after(self._timeout_seconds):
                await self._changed()
                continue
            if moved == self._moved:
                raise TimedOut("what is on its way does not reach the portal", applied=False)

    async def _changed(self) -> None:
        changed = trio.Event()
        self._outbox.watch_once(changed.set)
        await changed.wait()

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
                try:
                    for parcel in self._choose():
                        nursery.start_soon(self._send, self._under_way(parcel))
                    looking_again = min(self._not_before.values(), default=math.inf)
                except BitcasaError as error:  # the disk of the outbox
                    self._last_error = str(error)
                    looking_again = trio.current_time() + SPACE_SECONDS
                if self._outbox.log_bytes > self._log_limit:
                    await trio.to_thread.run_sync(self._outbox.checkpoint)
                    self._log_limit = self._outbox.log_bytes + LOG_BYTES
                with trio.move_on_at(looking_again):
                    await self._wake.wait()

    def _under_way(self, parcel: tuple[Record, ...]) -> list[Record]:
        with self._outbox.together():
            sending = [record.moved(State.SENDING, attempts=record.attempts + 1) for record in parcel]
            found = [self._outbox.update(record) for record in sending]
        self._uploading += parcel[0].change.kind is ChangeKind.CONTENT
        return found

    def _choose(self) -> list[tuple[Record, ...]]:
        now = trio.current_time()
        for number in [number for number, due in self._not_before.items() if due <= now]:
            del self._not_before[number]
        free = self._uploads - self._uploading
        limits = PARCELS if self._sender.batches else None
        chosen = sendable(
            self._outbox.ready(contents=True),
            self._outbox.ready(contents=False),
            self._outbox,
            held_open=self._held_open,
            slots=free * (limits.records if limits else 1),
            not_yet=self._not_before.keys(),
        )
        return parcels(chosen, limits, uploads=max(0, free))

    def _held_open(self, record: Record) -> bool:
        """Its content may still be written to. What may be on the portal already is only repeated: that waits for
        nobody.
        """
        if self._kernel_gone or record.unsure or not self._witness.held_open(record.change.node):
            return False
        return self._contents.record(record.change.node) == record

    async def _send(self, parcel: list[Record]) -> None:
        """One attempt, and what follows from its outcomes. Raises nothing but Cancelled."""
        try:
            self._progress.update((record.id, 0) for record in parcel)
            outcomes = await (self._attempt(parcel[0]) if len(parcel) == 1 else self._attempt_together(parcel))
            for record, outcome in zip(parcel, outcomes, strict=True):
                await self._settle_outcome(record, outcome)
        finally:
            self._uploading -= parcel[0].change.kind is ChangeKind.CONTENT
            for record in parcel:
                self._progress.pop(record.id, None)
        self.wake()

    async def _settle_outcome(self, record: Record, outcome: Item | BitcasaError | None) -> None:
        if not isinstance(outcome, BitcasaError):
            self._moved += 1
            self._tell_witness(record, outcome)
        while True:
            try:
                self._conclude(record, outcome)
                return
            except BitcasaError as error:  # the disk of the outbox; what became of the change must not be lost
                log.warning("what became of a change cannot be recorded: %s", error)
                await trio.sleep(SPACE_SECONDS)

    async def _attempt_together(self, parcel: list[Record]) -> Sequence[Item | BitcasaError | None]:
        try:
            return await self._sender.send_together(parcel)
        except Exception as error:  # noqa: BLE001 - sorted in one place
            return [_sorted(error, parcel[0])] * len(parcel)

    async def _attempt(self, record: Record) -> Sequence[Item | BitcasaError | None]:
        def progress(done: int) -> None:
            self._note_bytes(record, done)
            self._progress[record.id] = done
            self._moved += 1

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

    def _conclude(self, record: Record, outcome: Item | BitcasaError | None) -> None:
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
        elif self._outbox.get(record.id) is not None:
            self._outbox.remove(record.id)
        self._note_bytes(record, record.change.fields.size_bytes or 0)
        self._sent_changes += 1
        self._sent_bytes += record.change.fields.size_bytes or 0
        waiter = self._waiters.get(record.id)
        if waiter is not None:
            waiter.item = item
            waiter.done.set()

    def _note_bytes(self, record: Record, done: int) -> None:
        """So much of a content is over the link; of what shares a request that is known at its end. An upload that
        began again reports less than before.
        """
        self.rate.add(max(0, done - self._progress.get(record.id, 0)), trio.current_time())

    def _postpone(self, record: Record, error: BitcasaError) -> None:
        current = self._outbox.get(record.id)
        maybe_there = isinstance(error, Unavailable) and error.applied is not False
        keeps = maybe_there and record.change.kind not in (ChangeKind.MKDIR, ChangeKind.SYMLINK)
        if current is not None and not self._give_to_waiter(current, error, taken_back=not keeps):
            wish = error.retry_after_seconds if isinstance(error, Unavailable) else None
            delay = self._backoff.delay(current.attempts, wish, self._random_unit())
            self._not_before[record.id] = trio.current_time() + (self._backoff.cap_seconds if delay is None else delay)
            self._outbox.update(current.moved(State.READY, unsure=current.unsure or maybe_there))
        self._count_failure(error)

    def _refuse(self, record: Record, error: Refused) -> None:
        current = self._outbox.get(record.id)
        if current is not None and not self._give_to_waiter(current, error, taken_back=True):
            if current.change.kind is ChangeKind.CONTENT and self._contents.superseded(current):
                self._contents.drop(current)
            else:
                problem = self._outbox.update(current.moved(State.PROBLEM, reason=str(error), unsure=False))
                self._witness.refused(problem, error)
        self._count_failure(error)

    def _count_failure(self, error: BitcasaError) -> None:
        self._failed += 1
        self._last_error = str(error)

    def _give_to_waiter(self, record: Record, error: BitcasaError, *, taken_back: bool) -> bool:
        """Somebody waits for this change: they get the reason. True: it is not in the outbox any more."""
        waiter = self._waiters.get(record.id)
        if waiter is None:
            return False
        if taken_back:
            self._outbox.remove(record.id)
        waiter.error = error
        waiter.done.set()
        return taken_back


def _sorted(error: Exception, record: Record) -> BitcasaError:
    """What befell an attempt as one of our kinds."""
    if isinstance(error, BitcasaError):
        return error
    if isinstance(error, OSError):
        return NoSpace(f"the staging folder: {error.strerror or error}")
    log.error("a change could not be sent: %s", record.change.kind.value, exc_info=error)
    return Refused("an internal error; the log has the details")
