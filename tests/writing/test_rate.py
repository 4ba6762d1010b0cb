"""How fast bytes leave: one number over the last seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.writing.rate import Rate

MIB = 1 << 20


def test_without_bytes_nothing_moves() -> None:
    assert Rate().per_second(12.0) == 0


def test_a_steady_transfer_is_told_as_what_it_is() -> None:
    rate = Rate()
    for step in range(1, 101):
        rate.add(MIB // 10, step / 10)
    assert rate.per_second(10.0) == pytest.approx(MIB, rel=0.03)


def test_a_transfer_that_has_just_begun_is_measured_from_its_beginning() -> None:
    rate = Rate()
    for step in range(11):
        rate.add(MIB // 10, 100 + step / 10)
    assert rate.per_second(101.0) == pytest.approx(MIB, rel=0.15)


def test_the_first_bytes_alone_are_no_rate() -> None:
    rate = Rate()
    rate.add(MIB, 7.0)
    assert rate.per_second(7.0) == 2 * MIB


def test_what_ended_is_forgotten_within_the_window_and_begins_anew() -> None:
    rate = Rate()
    rate.add(10 * MIB, 1.0)
    assert rate.per_second(3.0) > rate.per_second(5.0) > 0
    assert rate.per_second(6.0) == 0
    rate.add(MIB, 20.0)
    assert rate.per_second(21.0) == MIB


@given(st.lists(st.tuples(st.integers(0, 1 << 30), st.floats(0, 3)), max_size=100))
def test_it_is_never_more_than_all_that_was_sent_in_half_a_second(added: list[tuple[int, float]]) -> None:
    rate, now = Rate(), 0.0
    for count, seconds in added:
        now += seconds
        rate.add(count, now)
        assert 0 <= rate.per_second(now) <= 2 * sum(one for one, _ in added)
