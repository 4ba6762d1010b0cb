"""How glibc keeps memory for us, set once at the start of a server process.

By default it raises the size from which memory is given back at once to that of the largest block ever freed: after
one login (argon2 takes 19 MiB) every piece of a body comes from the heaps of some thread, and those stay as large as
they ever were. Eight uploads and then eight downloads of 256 MiB took 198 MiB at the peak; with these settings 99 MiB,
at the same CPU (2026-11). With the threshold at 128 KiB sending costs twice the CPU: pieces have 256 KiB.
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_SETTINGS = ((_M_ARENA_MAX, 2), (_M_MMAP_THRESHOLD, 1024 * 1024), (_M_TRIM_THRESHOLD, 1024 * 1024))


def keep_small() -> None:
    """Before threads are started. Where the C library is another one, nothing happens."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _SETTINGS:
            mallopt(parameter, value)
