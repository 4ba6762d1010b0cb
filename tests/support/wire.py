"""The emulated link between any two pairs of streams: no sockets here, so it can be tested in virtual time.

A byte's way, in each direction: read from the sender -> queue of its connection (bounded) -> its turn on the lane,
which all connections share at the link's rate -> delay line (bounded by the window) -> written to the receiver. Full
bounds hold up the stage before, back to the sender.

Concurrency: everything runs in one trio thread; state changes happen between awaits. `Wire.run` must be running while
streams are carried.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import trio

from tests.support.link_profile import LOOP, LinkProfile, LossDice

Bytes = bytes | memoryview

READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """One direction: bytes taken from senders, bytes given to receivers, stalls that losses caused."""

    taken_bytes: int = 0
    delivered_bytes: int = 0
    stalls: int = 0


class Flow:
    """One direction of one connection: the queue before the lane, the delay line after it."""

    def __init__(self, dice: LossDice) -> None:
        self.dice = dice
        self.queue: deque[tuple[float, Bytes]] = deque()
        """(when it came, bytes); b"" is the end of the stream."""
        self.queued_bytes = 0
        self.line: deque[tuple[float, Bytes]] = deque()
        """(when it arrives, bytes)."""
        self.line_bytes = 0
        self.resume_at = -math.inf
        """Not on the lane before this time: the connection's own rate, or a stall."""
        self.last_due = -math.inf
        self.changed = trio.Event()

    def put(self, now: float, piece: Bytes) -> None:
        self.queue.append((now, piece))
        self.queued_bytes += len(piece)

    def take(self, limit_bytes: int) -> tuple[float, Bytes]:
        """At most `limit_bytes` from the queue's head, with the time when they came."""
        came, piece = self.queue.popleft()
        if len(piece) > limit_bytes:
            view = memoryview(piece)
            self.queue.appendleft((came, view[limit_bytes:]))
            piece = view[:limit_bytes]
        self.queued_bytes -= len(piece)
        return came, piece

    def due_pieces(self, now: float) -> list[Bytes]:
        """What has arrived by now, removed from the line; b"" stands last if it is there."""
        pieces = []
        while self.line and self.line[0][0] <= now:
            pieces.append(self.line.popleft()[1])
        return pieces

    def announce(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Lane:
    """One direction of the link. Serves connections in turn, a quantum each; time that the process overslept is made
    good, time in which nothing waited is not."""

    def __init__(self, wire: Wire, direction: str) -> None:
        self._wire = wire
        self.direction = direction
        self._flows: deque[Flow] = deque()
        self._free_at = -math.inf
        self._wake = trio.Event()
        self.statistics = LaneStatistics()

    def kick(self) -> None:
        self._wake.set()

    def profile_changed(self) -> None:
        self._free_at = min(self._free_at, trio.current_time())
        self.kick()

    async def run(self) -> None:
        while True:
            await self._wire.whole()
            self._wake = trio.Event()
            next_turn = self._serve(trio.current_time())
            with trio.move_on_at(next_turn):
                await self._wake.wait()
            await trio.lowlevel.checkpoint_if_cancelled()

    def _serve(self, now: float) -> float:
        """Pass everything whose turn has come; answers when to look again (infinity: when kicked)."""
        profile = self._wire.profile
        touched: set[Flow] = set()
        idle_turns = 0
        while self._free_at <= now and idle_turns < len(self._flows):
            flow = self._flows[0]
            self._flows.rotate(-1)
            if not flow.queue or flow.resume_at > now or flow.line_bytes >= profile.window_bytes:
                idle_turns += 1
                continue
            idle_turns = 0
            self._pass(flow, profile)
            touched.add(flow)
        for flow in touched:
            flow.announce()
        if self._free_at > now:
            return self._free_at
        waiting = [f.resume_at for f in self._flows if f.queue and f.line_bytes < profile.window_bytes]
        return min(waiting, default=math.inf)

    def _pass(self, flow: Flow, profile: LinkProfile) -> None:
        came, piece = flow.take(profile.quantum_bytes)
        passed_at = max(self._free_at, came, flow.resume_at)
        if profile.rate_bits_per_second is not None:
            started_at, passed_at = passed_at, passed_at + len(piece) * 8 / profile.rate_bits_per_second
            self._free_at = passed_at
        else:
            started_at = passed_at
        if profile.connection_rate_bits_per_second is not None:
            flow.resume_at = started_at + len(piece) * 8 / profile.connection_rate_bits_per_second
            passed_at = max(passed_at, flow.resume_at)
        if flow.dice.loses(len(piece), profile):
            self._count(stalls=1)
            passed_at += profile.stall_ms / 1000
            flow.resume_at = passed_at
        flow.last_due = max(flow.last_due, passed_at + profile.one_way_delay_seconds)
        flow.line.append((flow.last_due, piece))
        flow.line_bytes += len(piece)

    def _count(self, taken_bytes: int = 0, delivered_bytes: int = 0, stalls: int = 0) -> None:
        old = self.statistics
        self.statistics = LaneStatistics(
            old.taken_bytes + taken_bytes, old.delivered_bytes + delivered_bytes, old.stalls + stalls
        )

    async def carry(self, number: int, source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
        """Move `source` to `sink` until its end, then end `sink`. trio.BrokenResourceError when either breaks."""
        flow = Flow(LossDice(f"{self._wire.profile.seed}/{self.direction}/{number}"))
        self._flows.append(flow)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fill, flow, source)
                nursery.start_soon(self._drain, flow, sink)
        finally:
            self._flows.remove(flow)

    async def _fill(self, flow: Flow, source: trio.abc.ReceiveStream) -> None:
        ended = False
        while not ended:
            while (room := self._wire.profile.queue_bytes - flow.queued_bytes) <= 0:
                await flow.changed.wait()
            piece = bytes(await source.receive_some(min(READ_BYTES, room)))
            ended = not piece
            self._count(taken_bytes=len(piece))
            flow.put(trio.current_time(), piece)
            self.kick()

    async def _drain(self, flow: Flow, sink: trio.abc.HalfCloseableStream) -> None:
        while True:
            while not flow.line:
                await flow.changed.wait()
            await trio.sleep_until(flow.line[0][0])
            await self._wire.whole()
            pieces = flow.due_pieces(trio.current_time())
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if data:
                await sink.send_all(data)
                flow.line_bytes -= len(data)
                self._count(delivered_bytes=len(data))
                self.kick()
            if pieces[-1] == b"":
                await sink.send_eof()
                return


class Wire:
    """Two lanes and what is common to them: the profile, which may change at any time, and whether it is cut."""

    def __init__(self, profile: LinkProfile = LOOP) -> None:
        self._profile = profile
        self._restored = trio.Event()
        self._restored.set()
        self._carried = 0
        self.up = Lane(self, "up")
        self.down = Lane(self, "down")

    @property
    def profile(self) -> LinkProfile:
        return self._profile

    @profile.setter
    def profile(self, profile: LinkProfile) -> None:
        """For what passes from now on; what is in the delay line already arrives when it would have."""
        self._profile = profile
        self.up.profile_changed()
        self.down.profile_changed()

    @property
    def is_cut(self) -> bool:
        return not self._restored.is_set()

    def cut(self) -> None:
        """Nothing arrives any more and nobody is told, as when a cable is pulled; nothing is lost either."""
        if not self.is_cut:
            self._restored = trio.Event()

    def restore(self) -> None:
        self._restored.set()

    async def whole(self) -> None:
        """Wait until the link is not cut."""
        await self._restored.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.up.run)
            nursery.start_soon(self.down.run)
            task_status.started()

    async def handshake(self) -> None:
        """What connecting costs: a round trip before the first byte is taken."""
        await self.whole()
        await trio.sleep(self._profile.round_trip_seconds)

    async def carry(self, client: trio.abc.HalfCloseableStream, upstream: trio.abc.HalfCloseableStream) -> None:
        """Both directions until both have ended. trio.BrokenResourceError, in a group, when a side breaks."""
        self._carried += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.up.carry, self._carried, client, upstream)
            nursery.start_soon(self.down.carry, self._carried, upstream, client)
