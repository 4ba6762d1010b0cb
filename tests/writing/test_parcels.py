"""Which contents share a request."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.writing.change import Record
from bitcasafs.writing.parcels import ParcelLimits, parcels
from tests.support.changes import record

LIMITS = ParcelLimits(records=3, total_bytes=100, each_bytes=40)


def content(number: int, size: int, **what: Any) -> Record:
    return record(number, "content", number, size_bytes=size, **what)


def packed(*records: Record, uploads: int = 9, limits: ParcelLimits | None = LIMITS) -> list[list[int]]:
    return [[one.id for one in parcel] for parcel in parcels(records, limits, uploads=uploads, names=9)]


def test_small_contents_share_a_request_and_large_ones_and_changes_of_names_go_alone() -> None:
    chosen = [content(1, 5), content(2, 500), content(3, 5), record(4, "mkdir", 4), content(5, 5), content(6, 5)]
    assert packed(*chosen) == [[1, 3, 5], [2], [6], [4]]


def test_what_may_have_arrived_or_needs_its_base_first_goes_alone() -> None:
    chosen = [content(1, 5), content(2, 5, unsure=True), content(3, 5, base_limit=5), content(4, 5)]
    assert packed(*chosen) == [[1, 4], [2], [3]]
    assert packed(content(1, 5, replacing=(".f.upload", True, False)), content(2, 5)) == [[1], [2]]


def test_a_portal_without_batches_gets_one_a_request() -> None:
    assert packed(content(1, 5), content(2, 5), content(3, 5), uploads=2, limits=None) == [[1], [2]]


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(0, 5))
def test_no_parcel_is_too_large_none_is_sent_twice_and_no_more_than_may_go(sizes: list[int], uploads: int) -> None:
    chosen = [content(number, size) for number, size in enumerate(sizes, start=1)]
    found = parcels(chosen, LIMITS, uploads=uploads, names=9)
    assert len(found) <= uploads
    ids = [one.id for parcel in found for one in parcel]
    assert len(ids) == len(set(ids))
    for parcel in found:
        assert 1 <= len(parcel) <= LIMITS.records
        small = [one.change.fields.size_bytes or 0 for one in parcel]
        assert len(parcel) == 1 or (sum(small) <= LIMITS.total_bytes and max(small) <= LIMITS.each_bytes)
    if uploads and chosen:
        assert 1 in ids  # the oldest is never overtaken for ever
