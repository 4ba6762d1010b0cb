"""What a link is like: delay, rate, loss. Values only, and the dice that say where a stream loses a packet."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """A link with the same properties in both directions.

    Losses are loss-like stalls: bytes are never lost (the proxy speaks TCP to both sides), but a connection whose
    segment is lost pauses for `stall_ms`, as after a retransmission time-out, while the others go on.
    """

    name: str
    one_way_delay_ms: float = 0.0
    rate_bits_per_second: float | None = None
    """Of each direction, shared fairly by all connections; None: as fast as this machine."""
    connection_rate_bits_per_second: float | None = None
    """Of each direction of each connection."""
    stall_probability: float = 0.0
    """Of each segment of `segment_bytes`."""
    stall_ms: float = 200.0
    segment_bytes: int = 1448
    queue_bytes: int = 512 * 1024
    """Of each connection, waiting to pass: when it is full the sender is not read from. It must cover the link for as
    long as this process may oversleep: 10 ms at 200 Mbit/s are 250 KB."""
    window_bytes: int = 4 * 1024 * 1024
    """Of each connection, passed but not yet taken by the receiver: delay times rate, and what a slow reader leaves."""
    seed: int = 1

    @property
    def one_way_delay_seconds(self) -> float:
        return self.one_way_delay_ms / 1000

    @property
    def round_trip_seconds(self) -> float:
        return 2 * self.one_way_delay_ms / 1000

    @property
    def quantum_bytes(self) -> int:
        """How much a connection may pass before it is another's turn: 5 ms of the link, 16 KiB at most, one segment at
        least; with no rate there are no turns and whole reads pass."""
        if self.rate_bits_per_second is None and self.connection_rate_bits_per_second is None:
            return 256 * 1024
        slowest = min(r for r in (self.rate_bits_per_second, self.connection_rate_bits_per_second) if r is not None)
        return max(self.segment_bytes, min(16 * 1024, int(slowest * 0.005 / 8)))


LOOP = LinkProfile("loop")
"""No delay, no limit."""

FIBER = LinkProfile("fiber", one_way_delay_ms=10, rate_bits_per_second=200e6)
"""A home with fibre: 20 ms there and back, 200 Mbit/s."""

WAN = LinkProfile("wan", one_way_delay_ms=40, rate_bits_per_second=100e6, stall_probability=0.001)
"""Another continent: 80 ms there and back, 100 Mbit/s, one segment in a thousand lost."""


class LossDice:
    """Where one direction of one connection loses segments: by position in the stream, so that the same seed loses the
    same bytes however the reads happen to be cut."""

    def __init__(self, key: str) -> None:
        self._random = random.Random(key)
        self._probability = 0.0
        self._clean_segments = math.inf
        self._passed_bytes = 0

    def loses(self, size_bytes: int, profile: LinkProfile) -> bool:
        """Whether one of the next `size_bytes` is lost; several losses in one piece count as one."""
        if profile.stall_probability != self._probability:
            self._probability = profile.stall_probability
            self._throw()
        self._passed_bytes += size_bytes
        if self._passed_bytes <= self._clean_segments * profile.segment_bytes:
            return False
        self._passed_bytes = 0
        self._throw()
        return True

    def _throw(self) -> None:
        """The length of a run without loss is geometric."""
        if self._probability < 1e-12:
            self._clean_segments = math.inf
        elif self._probability >= 1:
            self._clean_segments = 0
        else:
            self._clean_segments = math.floor(math.log1p(-self._random.random()) / math.log1p(-self._probability))
