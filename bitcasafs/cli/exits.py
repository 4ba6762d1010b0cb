"""What the commands answer to their caller: mount(8)'s exit codes, used by all of them."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """mount(8): 1 usage or permission, 2 system, 4 internal, 8 interrupted, 32 mount (or unmount) failed, 64 some of
    it."""

    OK = 0
    USAGE = 1
    SYSTEM = 2
    INTERNAL = 4
    INTERRUPTED = 8
    FAILED = 32
    SOME = 64
