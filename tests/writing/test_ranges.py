"""Ranges beside a plain set of byte positions."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.writing.ranges import Ranges

PLACE = st.integers(0, 40)
STEPS = st.lists(
    st.tuples(st.just("add"), PLACE, PLACE) | st.tuples(st.just("cut"), PLACE, st.just(0)), max_size=25
)  # fmt: skip


def played(steps: list[tuple[str, int, int]]) -> tuple[Ranges, set[int]]:
    ranges, places = Ranges(), set[int]()
    for step, first, second in steps:
        if step == "add":
            ranges.add(first, second)
            places |= set(range(first, second))
        else:
            ranges.cut(first)
            places = {place for place in places if place < first}
    return ranges, places


@given(STEPS)
def test_a_set_of_ranges_holds_what_a_set_of_bytes_holds(steps: list[tuple[str, int, int]]) -> None:
    ranges, places = played(steps)
    assert {place for start, stop in ranges for place in range(start, stop)} == places


@given(STEPS)
def test_ranges_are_sorted_disjoint_and_never_touch(steps: list[tuple[str, int, int]]) -> None:
    ranges, _ = played(steps)
    edges = [edge for pair in ranges for edge in pair]
    assert edges == sorted(set(edges))
    assert len(ranges) == len(edges) // 2


@given(STEPS, PLACE, PLACE)
def test_pieces_cover_what_is_asked_without_gaps_and_say_what_is_there(
    steps: list[tuple[str, int, int]], start: int, stop: int
) -> None:
    ranges, places = played(steps)
    pieces = list(ranges.pieces(start, stop))
    assert [place for left, right, _ in pieces for place in range(left, right)] == list(range(start, stop))
    assert all(left < right for left, right, _ in pieces)
    assert all((place in places) is present for left, right, present in pieces for place in range(left, right))
    assert all(one[2] is not other[2] for one, other in pairwise(pieces))
    holes = {place for left, right in ranges.holes(start, stop) for place in range(left, right)}
    assert holes == set(range(start, stop)) - places


@given(STEPS)
def test_ranges_made_of_their_own_pairs_are_equal_and_apart(steps: list[tuple[str, int, int]]) -> None:
    ranges, _ = played(steps)
    again = Ranges(ranges)
    assert again == ranges
    again.add(50, 51)
    assert again != ranges
