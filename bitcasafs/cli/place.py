"""Which mount a path belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from bitcasafs.control.registry import Registered, Registry
from bitcasafs.errors import ConfigError
from bitcasafs.mount.folders import without_links


def mount_of(path: Path, registry: Registry) -> Registered:
    """The running mount at `path` or around it. ConfigError: there is none. Does not ask the mount."""
    absolute = Path(os.path.abspath(path))
    absolute = Path(os.path.realpath(absolute.parent)) / absolute.name
    # A link in a drive belongs to the drive, wherever it leads; only one outside of any is followed.
    found = _around(absolute, registry) or _around(without_links(absolute), registry)
    if found is None:
        raise ConfigError(f"{path} is not in a mounted Bitcasa drive")
    return found


def chosen_mount(path: str | None, registry: Registry) -> Registered:
    """The mount of `path`, or, without one, the only one that runs. ConfigError: there is none, or several."""
    if path is not None:
        return mount_of(Path(path), registry)
    entries = registry.all_mounts()
    if not entries:
        raise ConfigError("no drive is mounted; mount it (mount.bitcasafs [PORTAL] MOUNTPOINT) and ask again")
    if len(entries) > 1:
        listed = "\n".join(f"  {entry.mountpoint}" for entry in entries)
        raise ConfigError(f"several drives are mounted; say which one:\n{listed}")
    return entries[0]


def _around(path: Path, registry: Registry) -> Registered | None:
    found = (registry.find(folder) for folder in (path, *path.parents))
    return next((entry for entry in found if entry is not None), None)
