"""The kernel's own limits for one mount, under /sys/fs/fuse/connections.

With the defaults (max_background 12, congestion_threshold 9) 120 readers that wait for the network made a read of known
content wait 38 s and statfs 2.5 s; with both raised, 0.0 (measured). The mounting user may write them; the folder is
missing in most containers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

CONNECTIONS = Path("/sys/fs/fuse/connections")
MAX_BACKGROUND = 256
CONGESTION_THRESHOLD = 192


@dataclass(frozen=True, slots=True)
class Connection:
    """`device_minor` names the mount under `CONNECTIONS`. `raised`: the kernel lets 256 requests wait."""

    device_minor: int
    raised: bool


def raise_limits(device_minor: int, connections: Path = CONNECTIONS) -> Connection:
    """Write both limits and say whether they took. Never raises; blocks no longer than a write into sysfs."""
    folder = connections / str(device_minor)
    try:
        (folder / "max_background").write_text(f"{MAX_BACKGROUND}\n", encoding="ascii")
        (folder / "congestion_threshold").write_text(f"{CONGESTION_THRESHOLD}\n", encoding="ascii")
    except OSError as error:
        _log.info("The kernel's limits cannot be raised (%s): many stalled reads may delay others", error)
        return Connection(device_minor, raised=False)
    return Connection(device_minor, raised=True)
