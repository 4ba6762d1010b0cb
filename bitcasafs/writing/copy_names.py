"""Names for content that must not take the name it was meant for: conflict copies, and what a crash left behind. Pure.

Who uses: `conflicts` and `recovery`. The suffix stands before the extension, so that programs still know the type, and
the stem is shortened so that the whole fits the 255 bytes of a name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import count

from bitcasafs.dialects.names import with_suffix


def conflict_name(name: str, host: str, day: date, is_taken: Callable[[str], bool]) -> str:
    """`name (conflict from HOST DATE).ext`, or the first `name (conflict from HOST DATE 2).ext` that is free."""
    return _free(name, f"conflict from {_plain(host)} {day.isoformat()}", is_taken)


def recovered_name(name: str, day: date, is_taken: Callable[[str], bool]) -> str:
    """`name (recovered DATE).ext`, or the first `name (recovered DATE 2).ext` that is free."""
    return _free(name, f"recovered {day.isoformat()}", is_taken)


def _free(name: str, what: str, is_taken: Callable[[str], bool]) -> str:
    for number in count(1):
        found = with_suffix(name, f" ({what})" if number == 1 else f" ({what} {number})")
        if not is_taken(found):
            return found
    raise AssertionError("counting ends never")


def _plain(host: str) -> str:
    """A host name that can stand in a file name, without its domain."""
    first = host.split(".", 1)[0]
    return "".join(char if char.isalnum() or char in "-_" else "-" for char in first)[:63] or "unknown"
