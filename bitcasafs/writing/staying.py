"""When content of a file that stays open is sent without a close: a pure function of times.

Most programs close what they write; a log, a virtual disk or a database stays open for days. Seconds on one monotonic
clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

QUIET_SECONDS = 30.0
"""So long after the last write nobody is in the middle of anything. A program that writes every few seconds is sent
once in `LATEST_SECONDS`, not once a line."""

LATEST_SECONDS = 600.0
"""What was written reaches the portal after so long, however busy the file is."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Writes to a file that is open for writing and of which nothing was sent since: the first and the latest."""

    first: float
    latest: float

    @classmethod
    def at(cls, now: float) -> Activity:
        return cls(now, now)

    def again(self, now: float) -> Activity:
        return replace(self, latest=now)

    @property
    def due(self) -> float:
        """When what was written is sealed and sent."""
        return min(self.latest + QUIET_SECONDS, self.overdue)

    @property
    def overdue(self) -> float:
        """From here on it goes though somebody goes on writing."""
        return self.first + LATEST_SECONDS
