"""What goes, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.disk import Disk
from bitcasafs.reading.eviction import SAME_TIME_NS, Idle, Limits, choose, excess_bytes

GIB = 1 << 30
WIDE = Disk(free_bytes=500 * GIB, total_bytes=1000 * GIB)
IDLE = st.builds(
    Idle, st.uuids().map(str), st.integers(1, 1 << 40), st.integers(0, 10).map(lambda hours: hours * SAME_TIME_NS)
)


def test_nothing_must_go_while_there_is_room() -> None:
    assert excess_bytes(GIB, 4096, Limits(size_bytes=GIB + 4096), WIDE) == 0
    assert excess_bytes(GIB, 4097, Limits(size_bytes=GIB + 4096), WIDE) == 1


def test_the_disk_keeps_what_is_to_stay_free() -> None:
    limits = Limits(size_bytes=10 * GIB, keep_free_bytes=2 * GIB)
    assert excess_bytes(0, 100, limits, Disk(free_bytes=2 * GIB + 100, total_bytes=20 * GIB)) == 0
    assert excess_bytes(0, 101, limits, Disk(free_bytes=2 * GIB + 100, total_bytes=20 * GIB)) == 1


def test_unless_told_otherwise_a_small_disk_keeps_a_twentieth_and_a_large_one_a_gibibyte() -> None:
    assert excess_bytes(0, 1, Limits(), Disk(free_bytes=GIB // 2, total_bytes=10 * GIB)) == 1
    assert excess_bytes(0, 1, Limits(), Disk(free_bytes=GIB, total_bytes=100 * GIB)) == 1
    assert excess_bytes(0, 1, Limits(), Disk(free_bytes=GIB + 1, total_bytes=100 * GIB)) == 0


def test_the_longest_unused_go_first() -> None:
    old, new = Idle("old", 10, 0), Idle("new", 1000, 2 * SAME_TIME_NS)
    assert choose([new, old], 1) == [old]
    assert choose([new, old], 11) == [old, new]


def test_of_those_unused_equally_long_the_largest_goes_first() -> None:
    small, large = Idle("small", 10, 0), Idle("large", 1000, SAME_TIME_NS - 1)
    assert choose([small, large], 5) == [large]


def test_equal_sizes_go_in_the_order_of_use() -> None:
    rows = [Idle(str(age), 10, age) for age in range(5)]
    assert choose(rows[::-1], 25) == rows[:3]


@given(st.lists(IDLE, max_size=20), st.integers(0, 1 << 42))
def test_the_fewest_that_are_enough_are_chosen(candidates: list[Idle], excess: int) -> None:
    chosen = choose(candidates, excess)
    assert len({one.key for one in chosen}) == len(chosen)
    freed = sum(one.disk_bytes for one in chosen)
    assert freed >= excess or len(chosen) == len(candidates)
    if chosen:
        assert freed - chosen[-1].disk_bytes < excess
