from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects import ranges
from bitcasafs.dialects.ranges import ContentRange, Download
from bitcasafs.errors import ProtocolError, RangeInvalid, VersionMismatch
from bitcasafs.values.items import Version
from tests.support import strategies


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 3000))
def test_a_range_survives_the_wire_clamped_to_the_size(start: int, length: int, size: int) -> None:
    header = ranges.encode_range(start, start + length)
    if start >= size:
        with pytest.raises(RangeInvalid):
            ranges.parse_range(header, size)
    else:
        assert ranges.parse_range(header, size) == (start, min(start + length, size))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 10)),
        ("bytes=3-", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        (" Bytes = 2 - 3 ", (2, 4)),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=2-" + "9" * 19, (2, 10)),
        ("bytes=2-" + "9" * 100, (2, 10)),
        ("bytes=-" + "9" * 19, (0, 10)),
        ("bytes=2-" + "9" * 101, None),
        ("", None),
    ],
)
def test_each_form_of_a_range_of_ten_bytes(header: str | None, expected: tuple[int, int] | None) -> None:
    assert ranges.parse_range(header, 10) == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-0", 10), ("bytes=-5", 0), ("bytes=" + "9" * 30 + "-", 10)],
)
def test_a_range_that_starts_past_the_end_is_invalid(header: str, size: int) -> None:
    with pytest.raises(RangeInvalid):
        ranges.parse_range(header, size)


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.integers(0, 2**40))
def test_a_content_range_survives_the_wire(start: int, length: int, more: int) -> None:
    stop, total = start + length, start + length + more
    header = ranges.encode_content_range(start, stop, total)
    assert ranges.decode_content_range(header) == ContentRange(start, stop, total)


def test_the_total_may_be_unknown() -> None:
    assert ranges.decode_content_range("bytes 1-2/*") == ContentRange(1, 3, None)


@pytest.mark.parametrize(
    "header", [None, "", "bytes */10", "bytes 5-2/10", "bytes 0-10/10", "items 0-1/2", "bytes 0-/2"]
)
def test_a_content_range_that_is_nonsense_is_a_named_error(header: str | None) -> None:
    with pytest.raises(ProtocolError, match="Content-Range"):
        ranges.decode_content_range(header)


@given(strategies.versions | strategies.odd_versions)
def test_a_version_survives_as_an_entity_tag(version: Version) -> None:
    tag = ranges.encode_etag(version)
    assert tag.isascii() and tag.isprintable()
    assert ranges.decode_etag(tag) == version
    assert ranges.decode_etag("W/" + tag) is None


def test_lists_of_tags_are_read() -> None:
    tags = ranges.parse_etags('"a", W/"b" ,c')
    assert (tags.tags, tags.weak) == (frozenset({"a", "c"}), frozenset({"b"}))
    assert tags.match_strong(Version("a")) and not tags.match_strong(Version("b"))
    assert tags.match_weak(Version("b")) and not tags.match_weak(Version("x"))
    assert ranges.parse_etags(" * ").match_strong(Version("anything"))


V, OTHER = Version("v1"), '"v2"'


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Download(200, 0, 10)),
        ({"range": "bytes=2-3"}, Download(206, 2, 4)),
        ({"Range": "bytes=0-1,3-4"}, Download(200, 0, 10)),
        ({"If-Match": '"v1"', "Range": "bytes=2-"}, Download(206, 2, 10)),
        ({"If-Match": "*"}, Download(200, 0, 10)),
        ({"If-None-Match": OTHER}, Download(200, 0, 10)),
        ({"If-None-Match": 'W/"v1"', "Range": "bytes=90-"}, Download(304, 0, 0)),
        ({"If-Range": '"v1"', "Range": "bytes=2-3"}, Download(206, 2, 4)),
        ({"If-Range": OTHER, "Range": "bytes=2-3"}, Download(200, 0, 10)),
        ({"If-Range": "Wed, 21 Oct 2015 07:28:00 GMT", "Range": "bytes=90-"}, Download(200, 0, 10)),
    ],
)
def test_conditions_decide_what_a_download_gets(headers: dict[str, str], expected: Download) -> None:
    assert ranges.plan_download(headers, 10, V) == expected


def test_another_version_is_a_mismatch_and_a_range_past_the_end_416() -> None:
    with pytest.raises(VersionMismatch):
        ranges.plan_download({"If-Match": OTHER, "Range": "bytes=90-"}, 10, V)
    with pytest.raises(RangeInvalid):
        ranges.plan_download({"Range": "bytes=90-"}, 10, V)
    assert ranges.unsatisfied_content_range(10) == "bytes */10"


def test_without_versions_conditions_are_ignored() -> None:
    assert ranges.plan_download({"If-Match": OTHER, "Range": "bytes=0-0"}, 10, None) == Download(206, 0, 1)


@given(st.binary())
def test_digests_survive_the_wire(content: bytes) -> None:
    digests = {"md5": hashlib.md5(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
    assert ranges.decode_repr_digest(ranges.encode_repr_digest({**digests, "novel": "00"})) == digests


@given(st.none() | st.text(), st.integers(0, 100))
def test_any_header_is_read_or_a_named_error(header: str | None, size: int) -> None:
    ranges.decode_repr_digest(header)
    ranges.decode_etag(header)
    try:
        found = ranges.parse_range(header, size)
        assert found is None or 0 <= found[0] < found[1] <= size
    except RangeInvalid:
        pass
    try:
        ranges.decode_content_range(header)
    except ProtocolError:
        return
