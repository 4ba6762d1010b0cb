"""What of the block store must go, and in which order: pure functions of what is kept and of the disk.

Who uses: `blocks`, which carries the decision out. What is open is never offered here, so it is never chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitcasafs.disk import Disk

SAME_TIME_NS = 3600 * 10**9
"""Uses within one hour count as equally old."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large the store may become. `keep_free_bytes` None: as `Disk` has it."""

    size_bytes: int = 10 << 30
    keep_free_bytes: int | None = None
    contents: int = 200_000
    """Each costs 0.3 KB of memory and 12 us at the next mount (measured): 60 MB and 2.4 s."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A kept content that nobody has open: what it takes of the disk, and when it was last used (wall clock)."""

    key: str
    disk_bytes: int
    used_ns: int


def excess_bytes(used_bytes: int, adding_bytes: int, limits: Limits, disk: Disk) -> int:
    """How much must be freed before `adding_bytes` more may be written; 0: nothing."""
    keep_free = disk.keep_free_bytes(limits.keep_free_bytes)
    over = used_bytes + adding_bytes - limits.size_bytes
    short = keep_free + adding_bytes - disk.free_bytes
    return max(over, short, 0)


def choose(candidates: Sequence[Idle], excess: int) -> list[Idle]:
    """The fewest of `candidates`, in the order in which they go, that free `excess` bytes; all, if they do not.

    The longest unused go first; of those unused equally long (to the hour) the largest: it makes the most room, and
    many small contents cost more round trips to fetch again than one large one.
    """
    chosen: list[Idle] = []
    for one in sorted(candidates, key=lambda one: (one.used_ns // SAME_TIME_NS, -one.disk_bytes, one.used_ns)):
        if excess <= 0:
            break
        chosen.append(one)
        excess -= one.disk_bytes
    return chosen
