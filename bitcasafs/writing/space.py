"""Whether the disk has room for what is to be staged: most of it may be used, the rest stays free for others.

Who uses: `vfs.files`, before content is staged. Only content asks: a change of names or attributes is a few hundred
bytes in the outbox, and goes into what is kept free. `decide` is the rule, pure; `Space` carries it out.

    free of what must stay free:  0 ........ the band ........ and beyond
    a write:                      refused    slowed            at once
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from bitcasafs.disk import Disk, disk_of
from bitcasafs.errors import NoSpace

MOST_BAND_BYTES = 1 << 30
"""The band is as wide as what stays free, at most this: half a minute of a fast local disk's writing."""

MOST_WAIT_SECONDS = 1.0
"""By which a write is slowed at most. The kernel writes 128 KiB to 1 MiB at a time, and whoever waits for one of them
can be interrupted only after it."""

BAND_SECONDS = 30.0
"""When nothing reaches the portal, the band lasts so long: time for it to come back, and for a person to see that
copying has become slow. More would only keep from a program what it must be told in the end."""

LOOK_BYTES = 8 << 20
LOOK_SECONDS = 0.1
"""Beyond the band the disk is looked at once in so many bytes, and once in so long: others write to it as well."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`after_seconds`: wait so long, then look again. `refused`: there is no room, unless that look finds some."""

    after_seconds: float = 0.0
    refused: bool = False


def band_bytes(keep_free_bytes: int) -> int:
    """How far above the limit writers are slowed."""
    return min(keep_free_bytes, MOST_BAND_BYTES)


def decide(disk: Disk, keep_free_bytes: int, wanted_bytes: int, rate: float) -> Decision:
    """What becomes of a write of `wanted_bytes`. `rate`: bytes a second that reach the portal; 0: nothing does.

    The nearer to the limit, the nearer to that rate: at the limit as much is written as is sent. What is sent makes
    room a whole file at a time, so at the limit a write waits once before it is refused; not when nothing is sent.
    """
    left = disk.free_bytes - keep_free_bytes - wanted_bytes
    if left < 0:
        return Decision(MOST_WAIT_SECONDS if rate > 0 else 0.0, refused=True)
    band = band_bytes(keep_free_bytes)
    if left >= band:
        return Decision()
    nearness = 1 - left / band
    # At this speed at the limit, and none at its upper end, half the band's width over the speed is how long it lasts.
    speed = rate if rate > 0 else band / (2 * BAND_SECONDS)
    return Decision(min(MOST_WAIT_SECONDS, nearness * wanted_bytes / speed))


class Space:
    """The room of one staging folder. Nothing here waits but `admit`, and that only while it slows a writer."""

    def __init__(
        self,
        folder: Path | None,
        keep_free_bytes: int | None = None,
        rate: Callable[[], float] = lambda: 0.0,
        *,
        owed: Callable[[], int] = lambda: 0,
        look: Callable[[Path], Disk] = disk_of,
    ) -> None:
        """`folder` None: there is always room. `keep_free_bytes` None: as `Disk` has it. `rate`: see `decide`. `owed`:
        bytes that this disk will have to take besides, before what is staged gives its own back."""
        self._folder, self._keep_free_bytes = folder, keep_free_bytes
        self._rate, self._owed, self._look = rate, owed, look
        self._unseen_bytes = 0
        self._look_at = 0.0
        self._turn = 0.0

    async def admit(self, wanted_bytes: int) -> None:
        """Return when so much may be staged, at once (0.5 us) or after a second at most. NoSpace: there is no room.

        After it has waited the disk is looked at again: what is staged without another wait is what was admitted.
        """
        if self._goes_unseen(wanted_bytes):
            return
        decision = self._decide(wanted_bytes)
        if decision.after_seconds:
            await self._wait(decision.after_seconds)
            decision = self._decide(wanted_bytes)
        if decision.refused:
            raise NoSpace(f"no room in {self._folder} but for what stays free (-o keep_free=)")

    def refuses(self, wanted_bytes: int) -> bool:
        """There is no room for so much that nobody waits for: a hole that could be filled, a copy."""
        return not self._goes_unseen(wanted_bytes) and self._decide(wanted_bytes).refused

    async def _wait(self, seconds: float) -> None:
        """Writers wait one after another: together they are as slow as one of them was to be."""
        now = trio.current_time()
        self._turn = min(max(now, self._turn) + seconds, now + MOST_WAIT_SECONDS)
        await trio.sleep_until(self._turn)

    def _goes_unseen(self, wanted_bytes: int) -> bool:
        """Without a look at the disk; it is counted."""
        if self._folder is None or not wanted_bytes:
            return True
        if wanted_bytes > self._unseen_bytes or trio.current_time() >= self._look_at:
            return False
        self._unseen_bytes -= wanted_bytes
        return True

    def _decide(self, wanted_bytes: int) -> Decision:
        assert self._folder is not None
        try:
            disk = self._look(self._folder)
        except OSError:  # the write itself will tell what is wrong with it
            return Decision()
        keep_free = disk.keep_free_bytes(self._keep_free_bytes)
        disk = Disk(disk.free_bytes - self._owed(), disk.total_bytes)
        beyond = disk.free_bytes - keep_free - band_bytes(keep_free) - wanted_bytes
        self._unseen_bytes = min(LOOK_BYTES, max(0, beyond))
        self._look_at = trio.current_time() + LOOK_SECONDS
        return Decision() if beyond >= 0 else decide(disk, keep_free, wanted_bytes, self._rate())
