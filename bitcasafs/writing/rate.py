"""How fast a count has grown of late: bytes that reach the portal.

Who uses: `space`, to slow writers towards it. Looks at the count only when it is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

WINDOW_SECONDS = 10.0
"""Files are counted in pieces and small ones in batches: a shorter window would call the time between two "nothing"."""
STEP_SECONDS = 0.5


class Rate:
    """`count` may fall back, as it does when a sending begins again; that is no growth."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._seen: deque[tuple[float, int]] = deque()

    def __call__(self) -> float:
        """Units a second over the last ten seconds, or since it was asked first in them; 0.0 at the first time."""
        now, count = trio.current_time(), self._count()
        while self._seen and self._seen[0][0] < now - WINDOW_SECONDS:
            self._seen.popleft()
        if not self._seen or now - self._seen[-1][0] >= STEP_SECONDS:
            self._seen.append((now, count))
        since, before = self._seen[0]
        return max(0, count - before) / max(now - since, STEP_SECONDS)
