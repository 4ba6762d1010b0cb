"""How a batch is split: within the limits, in order, and always the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.batch import HEADERS_LIMIT_BYTES, frame_bytes
from bitcasafs.dialects.discovery import BatchLimits
from bitcasafs.errors import PredecessorFailed, TooLarge
from bitcasafs.remote.portal.parts import Part, shift, split
from bitcasafs.values.items import Address, NodeId
from bitcasafs.values.operations import Delete, Made, Mkdir, Move, Put, Symlink
from tests.support.contents import BytesSource

HOME = Address("/" + "a" * 64, NodeId("home"))


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 10), st.integers(500, 2000))
def test_parts_cover_everything_in_order_within_the_limits(sizes: list[int], operations: int, size_bytes: int) -> None:
    work = [(Put(HOME, f"file {index}", size), BytesSource(b"x" * size)) for index, size in enumerate(sizes)]
    limits = BatchLimits(operations, size_bytes, 300)
    parts = split(work, limits)
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(len(sizes)))
    for part in parts:
        assert 1 <= part.stop - part.start <= operations
        assert sum(frame_bytes(put) for put, _ in work[part.start : part.stop]) <= size_bytes
    assert parts == split(work, limits)


def test_one_operation_that_never_fits_is_refused() -> None:
    with pytest.raises(TooLarge):
        split([(Put(HOME, "file", 301), BytesSource(b"x" * 301))], BatchLimits(10, 2000, 300))
    with pytest.raises(TooLarge):
        split([(Mkdir(HOME, "x" * 255), None)], BatchLimits(10, 200, 100))


def test_what_names_an_operation_of_an_earlier_part_gets_its_address() -> None:
    made = [Address("/x", NodeId("n0")), None]
    part = Part(2, 5)
    assert shift(Mkdir(Made(0), "a"), part, made) == Mkdir(Address("/x", NodeId("n0")), "a")
    assert shift(Mkdir(Made(3), "a"), part, made) == Mkdir(Made(1), "a")
    assert shift(Move(Made(2), Made(0), "a"), part, made) == Move(Made(0), Address("/x", NodeId("n0")), "a")
    assert shift(Delete(Made(4)), part, made) == Delete(Made(2))
    assert shift(Mkdir(HOME, "a"), part, made) == Mkdir(HOME, "a")
    assert isinstance(shift(Delete(Made(1)), part, made), PredecessorFailed)


def test_a_part_has_no_more_bytes_of_lines_than_a_batch_may_have() -> None:
    links = [(Symlink(Address("/d"), f"{number:04}", "x" * 8000), None) for number in range(1000)]
    parts = split(links, BatchLimits(operations=1000, bytes=2**40, content=2**40))
    assert parts[0].start == 0
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    for part in parts:
        assert sum(frame_bytes(link) for link, _ in links[part.start : part.stop]) <= HEADERS_LIMIT_BYTES
    assert len(parts) == 2
