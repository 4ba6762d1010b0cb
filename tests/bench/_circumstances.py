"""What stands above a benchmark's tables: the day, the machine, the disk, the command, and what else was running."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def facts(command: str, argv: list[str], rounds: int) -> dict[str, str]:
    """Before the first measurement."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "command": " ".join([f"scripts/bench {command}", *argv]),
        "rounds": str(rounds),
        "load before": load(),
    }


def load() -> str:
    """Processes that ran, on average of a minute, of five and of fifteen."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())


def heading(known: dict[str, str], *, markdown: bool) -> str:
    return "\n".join(f"{'- ' if markdown else ''}{name}: {value}" for name, value in known.items())


def file_system(folder: Path) -> str:
    """The kind of the file system that `folder` is on: of the longest mountpoint above it."""
    mounts = [line.split(" ") for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(where, kind) for _, where, kind, *_ in mounts if folder.is_relative_to(where)]
    return max(above, key=lambda found: len(found[0]), default=("", "unknown"))[1]
