"""How long to wait before asking again. A policy: no clock, no chance, no I/O of its own.

Who uses: the remote's retry, the outbox's scheduler, whoever restarts a server that died.
"""

from __future__ import annotations

from dataclasses import dataclass

_MOST_DOUBLINGS = 60
"""Beyond it a float overflows, and every sensible cap is long reached."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `base_seconds` to `cap_seconds`; after `attempts` failures no more (None: never stops).

    A portal's own wish (Retry-After) is not capped by `cap_seconds` but by `longest_wish_seconds`, so that a mistaken
    answer cannot silence a mount for a year.
    """

    base_seconds: float = 0.5
    cap_seconds: float = 30.0
    attempts: int | None = 5
    longest_wish_seconds: float = 600.0

    def delay(self, attempt: int, retry_after_seconds: float | None, random_unit: float) -> float | None:
        """Seconds to wait after failure number `attempt` (from 1), or None: give up.

        `random_unit` is in [0, 1) and spreads those who failed together: over the upper half of the wait, so that it
        still grows; a portal's wish is a lower bound and is spread over `base_seconds` beyond it.
        """
        if self.attempts is not None and attempt >= self.attempts:
            return None
        doubled = self.base_seconds * 2.0 ** min(max(attempt - 1, 0), _MOST_DOUBLINGS)
        own = min(self.cap_seconds, doubled) * (1 + random_unit) / 2
        if retry_after_seconds is None:
            return own
        wish = min(max(retry_after_seconds, 0.0), self.longest_wish_seconds)
        return max(own, wish + self.base_seconds * random_unit)
