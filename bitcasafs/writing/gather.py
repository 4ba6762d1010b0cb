"""When small changes are sent that come in a burst: a pure function of times.

Who copies or unpacks a tree waits for this process, and a request costs it a millisecond of CPU: sent alone, more than
the file's own handling. So the first change goes at once, and while others keep coming what is small waits: until
nothing came for a moment, until a settle time has passed since the last parcel began, or until several are full.
Measured for `cp -a` of 1,000 files over the loop: 3.5 s while each file went alone, 1.5 s when none did.
"""

from __future__ import annotations

from dataclasses import dataclass

QUIET_SECONDS = 0.05
"""Without a new change for so long, the burst is over. `cp` and `tar` make one a millisecond."""
FULL_RECORDS = 512
"""So many are sent without waiting for the end."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`touched_at`: when a change was made last; `parcel_at`: when the last parcel with small ones began."""

    touched_at: float
    parcel_at: float

    def is_busy(self, now: float) -> bool:
        """Somebody is changing things at this moment."""
        return now < self.touched_at + QUIET_SECONDS

    def hold_until(self, now: float, settle_seconds: float, ready: int) -> float | None:
        """Until when small changes wait for others; None: they go."""
        if ready >= FULL_RECORDS or not self.is_busy(now):
            return None
        due = min(self.touched_at + QUIET_SECONDS, self.parcel_at + settle_seconds)
        return due if due > now else None
