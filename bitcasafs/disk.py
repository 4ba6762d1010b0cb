"""How much of a disk is free, and how much of it stays free for others.

Who uses: `reading` for the block store, `writing` for what is staged, so that both leave the same alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MOST_KEEP_FREE_BYTES = 1 << 30
KEEP_FREE_PARTS = 20
"""Of a disk, the smaller of 1 GiB and 5 % stays free for others."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk under a folder: what this user may still write, and all there is."""

    free_bytes: int
    total_bytes: int

    def keep_free_bytes(self, told: int | None) -> int:
        """What stays free: `told` by `-o keep_free=`, or the smaller of 1 GiB and 5 %."""
        return min(MOST_KEEP_FREE_BYTES, self.total_bytes // KEEP_FREE_PARTS) if told is None else told


def disk_of(folder: Path) -> Disk:
    """statvfs(2): 0.6 us. Pages that are not written back yet count as used (ext4, xfs). OSError."""
    told = os.statvfs(folder)
    return Disk(told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize)
