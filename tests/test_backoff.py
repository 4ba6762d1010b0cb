from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.backoff import Backoff

units = st.floats(0, 1, exclude_max=True)
POLICY = Backoff(base_seconds=1, cap_seconds=8, attempts=6)


def test_waits_double_up_to_the_cap_and_then_end() -> None:
    longest = [POLICY.delay(attempt, None, 1 - 1e-9) for attempt in range(1, 7)]
    assert [wait and round(wait, 3) for wait in longest] == [1, 2, 4, 8, 8, None]


def test_chance_spreads_a_wait_over_its_upper_half() -> None:
    assert POLICY.delay(3, None, 0.0) == 2
    assert POLICY.delay(3, None, 0.5) == 3


def test_without_a_number_of_attempts_it_never_ends() -> None:
    assert Backoff(1, 8, None).delay(10**6, None, 0.0) == 4


def test_the_portals_wish_goes_beyond_the_cap_but_not_beyond_reason() -> None:
    assert POLICY.delay(1, 60, 0.5) == 60.5
    assert POLICY.delay(1, 10**9, 0.0) == POLICY.longest_wish_seconds


def test_a_wish_does_not_bring_back_what_is_given_up() -> None:
    assert POLICY.delay(6, 1, 0.0) is None


@given(st.integers(1, 10_000), st.floats(-1e9, POLICY.longest_wish_seconds), units)
def test_nobody_comes_back_earlier_than_asked(attempt: int, wish_seconds: float, unit: float) -> None:
    wait = Backoff(1, 8, None).delay(attempt, wish_seconds, unit)
    assert wait is not None
    assert max(wish_seconds, 0.5) <= wait <= max(wish_seconds, 8) + 1


@given(st.integers(1, 10_000), units)
def test_a_wait_is_within_base_and_cap(attempt: int, unit: float) -> None:
    wait = Backoff(0.25, 30, None).delay(attempt, None, unit)
    assert wait is not None
    assert 0.125 <= wait <= 30
