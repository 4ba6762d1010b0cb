"""Who waits until changes are on the portal: sync, fsync=remote, coherence=strict, the end of a mount.

Who uses: `vfs` and the mount wait here; the scheduler tells what moves and what became of changes. State changes
between two awaits; every wait may be cancelled, and leaves the change in the outbox.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import trio

from bitcasafs.errors import BitcasaError, Refused, TimedOut
from bitcasafs.values.items import Item
from bitcasafs.writing.change import Change, Number, Record, State
from bitcasafs.writing.order import stuck
from bitcasafs.writing.outbox import Outbox


class _Waiter:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.item: Item | None = None
        self.error: BitcasaError | None = None


class Deliveries:
    """`wake`: something may go sooner than was thought."""

    def __init__(self, outbox: Outbox, wake: Callable[[], None], *, timeout_seconds: float = 15.0) -> None:
        self._outbox, self._wake = outbox, wake
        self._timeout_seconds = timeout_seconds
        self._waiters: dict[int, _Waiter] = {}
        self._refusals: dict[int, Refused] = {}
        self._moved = 0
        self._moved_at = -math.inf
        self.hurried: set[int] = set()
        """Urgent changes whose back-off is to be forgotten at the next look, once: the portal may answer by now."""
        self.urgent_up_to = 0
        """All up to this one go without settling."""

    # --- for those who wait -----------------------------------------------------------------------------------------

    async def carry_out(self, change: Change) -> Item | None:
        """Append a change and wait for its `outcome`."""
        return await self.outcome(self._outbox.append(change))

    async def outcome(self, record: Record) -> Item | None:
        """Wait until a change that was made this moment is on the portal; it goes at once.

        When the portal refuses it, or cannot be reached, it is taken back and the reason raised; TimedOut when
        nothing has moved for the mount's time-out while it waited for its turn. When the answer is lost the reason is
        raised, and the change stays, to be asked for again: until its outcome is known nothing else of the node may go.
        """
        waiter = self._waiters[record.id] = _Waiter()
        self.at_once([record.id])
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
        """Send at once what exists now, also of files that stay open, and wait until no change with id <= `up_to`
        (None: that exists now) can still be sent; problems stay. What is not sealed is waited for.
        """
        last = self._outbox.newest_id if up_to is None else up_to
        self.urgent_up_to = max(self.urgent_up_to, last)
        # What is written to them from here on goes on in a copy: else a busy file would be waited for without end.
        sent = [one for one in self._outbox if one.id <= last and not one.change.fields.local]
        self.at_once(one.id for one in sent if one.staged is not None and one.is_sealed)
        while any(self._is_awaited(record, last) for record in self._outbox):
            await self._changed()

    def _is_awaited(self, record: Record, last: int) -> bool:
        return record.id <= last and not record.change.fields.local and not self._stuck(record)

    def _stuck(self, record: Record) -> bool:
        if not self._outbox.statistics().problems:
            return False
        return record.state is not State.OPEN and stuck(record, self._outbox)

    async def delivered(self, node: Number) -> None:
        """Send what is sealed of a node at once, also while it is open, and wait until the portal has it, for as long
        as anything moves. TimedOut: nothing did for the mount's time-out; it stays and is sent later. Refused, or
        another error: why it is a problem.
        """
        began = trio.current_time()
        while left := [
            one for one in self._outbox.of_node(node) if one.state is not State.OPEN and not one.change.fields.local
        ]:
            for record in left:
                if record.state is State.PROBLEM:
                    raise self._refusals.get(record.id) or Refused(record.reason or "the portal refused it")
            new = [record.id for record in left if record.id not in self._outbox.urgent]
            if new:
                self.at_once(new)
            await self._change_or_give_up("nothing of it reaches the portal; it is sent later", began)

    async def settled(self, *nodes: Number) -> None:
        """Wait until of none of the nodes anything is on its way, or may have arrived unanswered.

        TimedOut when nothing has moved for the mount's time-out.
        """
        began = trio.current_time()
        self.at_once(record.id for node in nodes for record in self._outbox.of_node(node) if record.unsure)
        while any(
            record.state is State.SENDING or record.unsure for node in nodes for record in self._outbox.of_node(node)
        ):
            await self._change_or_give_up("what is on its way does not reach the portal", began)

    def at_once(self, records: Iterable[int]) -> None:
        """Nothing holds these back any more but what they depend on."""
        numbers = set(records)
        self._outbox.urgent |= numbers
        self.hurried |= numbers
        self._wake()

    async def _change_or_give_up(self, why: str, began: float) -> None:
        """Attempts that fail change records, and move nothing."""
        with trio.move_on_at(self._patient_until(began)):
            await self._changed()
            return
        if trio.current_time() >= self._patient_until(began):
            raise TimedOut(why, applied=False)

    def _patient_until(self, began: float) -> float:
        return max(began, self._moved_at) + self._timeout_seconds

    async def _changed(self) -> None:
        changed = trio.Event()
        self._outbox.watch_once(changed.set)
        await changed.wait()

    # --- for the scheduler ------------------------------------------------------------------------------------------

    def note_progress(self) -> None:
        """Bytes, or an answer, went over the link."""
        self._moved += 1
        self._moved_at = trio.current_time()

    def is_waited_for(self, number: int) -> bool:
        """Somebody waits for the outcome itself, and is told of a refusal."""
        return number in self._waiters

    def arrived(self, record: Record, item: Item | None) -> None:
        waiter = self._waiters.get(record.id)
        if waiter is not None:
            waiter.item = item
            waiter.done.set()

    def note_refusal(self, record: Record, error: Refused) -> None:
        self._outbox.urgent.discard(record.id)
        self._refusals[record.id] = error

    def give(self, record: Record, error: BitcasaError, *, taken_back: bool) -> bool:
        """Who waits for the change gets the reason. True: it is not in the outbox any more."""
        waiter = self._waiters.get(record.id)
        if waiter is None:
            return False
        if taken_back:
            self._outbox.remove(record.id)
        waiter.error = error
        waiter.done.set()
        return taken_back
