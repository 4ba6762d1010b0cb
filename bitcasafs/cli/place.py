"""Which mount a path belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from bitcasafs.control.registry import Registered, Registry
from bitcasafs.errors import ConfigError


def mount_of(path: Path, registry: Registry) -> Registered:
    """The running mount at `path` or around it. ConfigError: there is none. Does not ask the mount."""
    absolute = Path(os.path.abspath(path))
    absolute = Path(os.path.realpath(absolute.parent)) / absolute.name
    for folder in (absolute, *absolute.parents):
        entry = registry.find(folder)
        if entry is not None:
            return entry
    raise ConfigError(f"{path} is not in a mounted Bitcasa drive")
