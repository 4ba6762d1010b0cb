"""When small changes of a burst go: a table of times."""

from __future__ import annotations

import math

import pytest

from bitcasafs.writing.gather import FULL_RECORDS, QUIET_SECONDS, Pace

SETTLE = 1.0

CASES = {
    "the first change of a burst goes at once": (Pace(touched_at=100, parcel_at=-math.inf), 100, 1, None),
    "another that follows a parcel waits for the end of the burst": (Pace(100, 99.9), 100, 1, 100 + QUIET_SECONDS),
    "the end of the burst is a moment without changes": (Pace(100, 99.9), 100 + QUIET_SECONDS, 5, None),
    "a long burst sends once in a settle time": (Pace(100, 99.001), 100, 5, 100.001),
    "and does so when that has passed": (Pace(100, 99), 100, 5, None),
    "what fills several parcels does not wait": (Pace(100, 99.9), 100, FULL_RECORDS, None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_until_when_small_changes_wait(case: tuple[Pace, float, int, float | None]) -> None:
    pace, now, ready, wanted = case
    assert pace.hold_until(now, SETTLE, ready) == (None if wanted is None else pytest.approx(wanted))
