"""How long a login has to wait after wrong passwords: pure policy, no clock and no database.

Two counts over a sliding window: of the user name (somebody guesses one password after another) and of the client's
address (somebody tries one password on many names). The wait for a name stays short, since anybody can make another
person's name wait; with at most one try in `NAME_LONGEST_SECONDS` guessing is hopeless all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

WINDOW_SECONDS = 15 * 60.0
NAME_FREE = 5
NAME_LONGEST_SECONDS = 30.0
ADDRESS_FREE = 30
ADDRESS_LONGEST_SECONDS = 300.0


def login_delay(name_failures: Sequence[float], address_failures: Sequence[float]) -> float:
    """Seconds until the next try; 0: now. Each failure is given by its age in seconds; order does not matter."""
    return max(
        _delay(name_failures, NAME_FREE, NAME_LONGEST_SECONDS),
        _delay(address_failures, ADDRESS_FREE, ADDRESS_LONGEST_SECONDS),
    )


def _delay(ages: Sequence[float], free: int, longest_seconds: float) -> float:
    counted = [max(age, 0.0) for age in ages if age < WINDOW_SECONDS]
    beyond = len(counted) - free
    if beyond < 0:
        return 0.0
    # 1 s after the last free failure, then doubled with each; 2**12 is beyond any limit above.
    wait = min(2.0 ** min(beyond, 12), longest_seconds)
    return max(wait - min(counted), 0.0)
