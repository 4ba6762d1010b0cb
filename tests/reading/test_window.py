"""How far ahead is fetched, by the pattern of the reads: a table, and what holds for every pattern."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.reading.window import FIRST_BYTES, LARGEST_BYTES, NEAR_BYTES, Window

K, M = 1 << 10, 1 << 20
REQUEST = 128 * K


def after(reads: Iterable[tuple[int, int]], *, waits: bool = True) -> Window:
    """The window of a reader that waited for each of its reads (or for none)."""
    window = Window()
    for start, length in reads:
        window = window.seen(start, start + length)
        if waits:
            window = window.grown()
    return window


SEQUENTIAL = [(number * REQUEST, REQUEST) for number in range(10)]
PATTERNS = {
    "one read at the start": (SEQUENTIAL[:1], FIRST_BYTES, False),
    "two in a row": (SEQUENTIAL[:2], 2 * FIRST_BYTES, True),
    "three in a row": (SEQUENTIAL[:3], 4 * FIRST_BYTES, True),
    "ten in a row": (SEQUENTIAL, LARGEST_BYTES, True),
    "in a row, pairwise swapped as the kernel does": (
        [SEQUENTIAL[n + 1 - 2 * (n % 2)] for n in range(10)],
        LARGEST_BYTES,
        True,
    ),
    "from the middle on": ([(500 * M + start, length) for start, length in SEQUENTIAL], LARGEST_BYTES, True),
    "one small read far away": ([(500 * M, 4 * K)], 4 * K, False),
    "small reads all over": ([(number * 7919 * M % (9999 * M), 4 * K) for number in range(1, 50)], 4 * K, False),
    "a jump after a long row": ([*SEQUENTIAL, (900 * M, 4 * K)], 4 * K, False),
    "short strides": ([(number * 64 * K, 4 * K) for number in range(10)], LARGEST_BYTES, True),
    "long strides": ([(number * 512 * K, 4 * K) for number in range(1, 10)], 4 * K, False),
    "small reads in a row after a jump": (
        [(500 * M + number * 4 * K, 4 * K) for number in range(2)],
        FIRST_BYTES,
        False,
    ),
    "more small reads in a row after a jump": (
        [(500 * M + number * 4 * K, 4 * K) for number in range(4)],
        4 * FIRST_BYTES,
        True,
    ),
    "two rows in turn, far apart": (
        [(offset + number * REQUEST, REQUEST) for number in range(9) for offset in (500 * M, 900 * M)],
        REQUEST,
        False,
    ),
    "backwards in large steps": ([(100 * M - number * 2 * M, REQUEST) for number in range(9)], REQUEST, False),
}


@pytest.mark.parametrize(("reads", "size", "sequential"), PATTERNS.values(), ids=PATTERNS.keys())
def test_the_window_follows_the_pattern(reads: list[tuple[int, int]], size: int, sequential: bool) -> None:
    window = after(reads)
    assert (window.size_bytes, window.sequential) == (size, sequential)


def test_a_reader_that_never_waits_needs_no_larger_window() -> None:
    assert after(SEQUENTIAL, waits=False).size_bytes == FIRST_BYTES


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, M)), max_size=30))
def test_a_window_is_never_larger_than_the_largest_and_never_nothing(reads: list[tuple[int, int]]) -> None:
    assert 1 <= after(reads).size_bytes <= LARGEST_BYTES


@given(st.integers(0, 2**40), st.integers(1, M), st.lists(st.integers(0, 30), max_size=5))
def test_after_a_jump_no_more_is_fetched_than_is_asked_for(start: int, length: int, before: list[int]) -> None:
    window = after([(2**41 + number * REQUEST, REQUEST) for number in before])
    if abs(start - window.expected) > NEAR_BYTES:
        jumped = window.seen(start, start + length).grown()
        assert jumped.size_bytes <= length
        assert not jumped.sequential
