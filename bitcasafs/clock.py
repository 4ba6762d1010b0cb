"""What time it is, and since which boot.

Who uses: whatever stamps changes, waits or journals; they are handed a `Clock`, so that tests can hand them another.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import NewType, Protocol

from bitcasafs.errors import ConfigError

BootId = NewType("BootId", str)
"""Names one run of the kernel. What was written but not synced under another boot id may be damaged."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    def wall_ns(self) -> int:
        """Nanoseconds since the epoch; may jump either way when somebody sets the clock."""
        ...

    def monotonic(self) -> float:
        """Seconds from some moment, never backwards; only differences mean anything, within one process."""
        ...


class SystemClock:
    """The machine's own."""

    __slots__ = ()

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


def boot_id(source: Path = _BOOT_ID) -> BootId:
    """The running kernel's boot id, 36 characters. ConfigError where /proc does not tell it."""
    try:
        text = source.read_text(encoding="ascii").strip()
        return BootId(str(uuid.UUID(text)))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the kernel's boot id cannot be read from {source}: {error}") from error
