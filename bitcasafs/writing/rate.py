"""How fast bytes leave for the portal: over the last seconds, as one number. Pure: who uses it gives the time.

Who uses: the scheduler feeds it with what an upload reports; status shows it, and the space policy slows writers to it.
Bounded: what comes within a tenth of a second is kept as one.
"""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 5.0
"""Long enough for the steps in which an upload reports (each some 100 KiB to 1 MiB), short enough for a person."""
_STEP_SECONDS = 0.1
_LEAST_SECONDS = 0.5
"""What arrives in the first moment of a transfer went into buffers of this machine: it is not taken for its rate."""


class Rate:
    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._steps: deque[tuple[float, int]] = deque()
        self._began = 0.0
        """When bytes came after a silence of a whole window."""

    def add(self, count: int, now: float) -> None:
        """`count` bytes more are on their way since the last call. `now` never goes back; seconds of any clock."""
        self._forget_before(now - self._window_seconds)
        if not self._steps:
            self._began = now
        if self._steps and now - self._steps[-1][0] < _STEP_SECONDS:
            start, before = self._steps.pop()
            self._steps.append((start, before + count))
        else:
            self._steps.append((now, count))

    def per_second(self, now: float) -> float:
        """Bytes per second over the window, or since the transfer began; 0 when nothing has moved for a window."""
        self._forget_before(now - self._window_seconds)
        seconds = min(self._window_seconds, max(_LEAST_SECONDS, now - self._began))
        return sum(count for _, count in self._steps) / seconds

    def _forget_before(self, moment: float) -> None:
        while self._steps and self._steps[0][0] <= moment:
            self._steps.popleft()
