"""How far to read ahead: pure functions of what a reader did so far.

The kernel keeps two requests of 128 KiB in flight (measured; field fact of FUSE without root), so a sequential reader
needs the mount to fetch ahead; a random reader must not pay for bytes that nobody reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_BYTES = 256 << 10
"""First fetch of a reader that has shown no pattern: two kernel requests, 2 ms at 1 Gbit/s."""
LARGEST_BYTES = 8 << 20
"""At 80 ms and 100 Mbit/s the link holds 1 MB; two windows of this size keep it full with room for jitter."""
NEAR_BYTES = 1 << 20
"""The kernel's own read-ahead arrives out of order by up to a few requests: still sequential. Of a reader that has
shown no pattern only `FIRST_BYTES` count as near: in a database of 20 MB every tenth random read comes within 1 MiB
of the one before."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a reader's pattern allows: where its next read is expected, and how much to fetch at once."""

    expected: int = 0
    size_bytes: int = FIRST_BYTES
    followed: int = -1
    """Reads that came where one was expected, since the first one or the last jump."""

    def seen(self, start: int, stop: int) -> Window:
        """The window after a read of [start, stop): kept near the expected place, small again after a jump."""
        if abs(start - self.expected) <= (NEAR_BYTES if self.sequential else FIRST_BYTES):
            return replace(self, expected=max(self.expected, stop), followed=self.followed + 1)
        return Window(expected=stop, size_bytes=min(FIRST_BYTES, stop - start), followed=0)

    def grown(self) -> Window:
        """The reader had to wait: fetch twice as much next time, unless it has shown no pattern yet."""
        if self.followed <= 0:
            return self
        larger = self.size_bytes * 2 if self.size_bytes >= FIRST_BYTES else FIRST_BYTES
        return replace(self, size_bytes=min(larger, LARGEST_BYTES))

    @property
    def sequential(self) -> bool:
        """Worth fetching before it is asked for."""
        return self.size_bytes > FIRST_BYTES
