"""What happened to the drive that a person should know, though nothing is lost: conflict copies, what came back.

Bounded; in memory: the log has them all. Who uses: `conflicts` adds, status shows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

MOST = 100


@dataclass(frozen=True, slots=True)
class Notice:
    """`path` below the mountpoint; `at`: seconds of the clock that `Notices` was given."""

    path: str
    text: str
    at: float


class Notices:
    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._kept: deque[Notice] = deque(maxlen=MOST)

    def add(self, path: str, text: str) -> None:
        self._kept.append(Notice(path, text, self._clock()))

    def list(self) -> tuple[Notice, ...]:
        """Oldest first."""
        return tuple(self._kept)
