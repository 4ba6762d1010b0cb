"""The map's format: what was written is read, and what is torn, damaged or another's claims nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.reading.block_map import (
    BLOCK_BYTES,
    HEADER_BYTES,
    RECORD_BYTES,
    block_length,
    content_key,
    decode_map,
    encode_header,
    encode_record,
    end_of_records,
)
from bitcasafs.remote.interface import ContentRef

CONTENT = ContentRef("some id", 40 * BLOCK_BYTES + 5)
KEY = content_key(CONTENT)
HEADER = encode_header(KEY, CONTENT.size_bytes)
CHECKSUMS = st.dictionaries(st.integers(0, 40), st.integers(0, 2**32 - 1))


def written(checksums: dict[int, int]) -> bytes:
    return HEADER + b"".join(
        encode_record(HEADER, index, block_length(index, CONTENT.size_bytes), checksum)
        for index, checksum in checksums.items()
    )


@given(CHECKSUMS)
def test_what_was_written_is_read(checksums: dict[int, int]) -> None:
    assert decode_map(written(checksums), KEY, CONTENT.size_bytes) == checksums


@given(CHECKSUMS, st.data())
def test_a_torn_map_claims_its_whole_records_and_the_next_goes_over_the_torn_one(
    checksums: dict[int, int], data: st.DataObject
) -> None:
    whole = written(checksums)
    torn = whole[: data.draw(st.integers(HEADER_BYTES, len(whole)))]
    count = (len(torn) - HEADER_BYTES) // RECORD_BYTES
    assert decode_map(torn, KEY, CONTENT.size_bytes) == dict(list(checksums.items())[:count])
    again = torn[: end_of_records(len(torn))] + encode_record(HEADER, 40, 5, 77)
    assert decode_map(again, KEY, CONTENT.size_bytes) == dict(list(checksums.items())[:count]) | {40: 77}


@given(CHECKSUMS, st.data())
def test_a_damaged_map_claims_nothing_that_was_not_written(checksums: dict[int, int], data: st.DataObject) -> None:
    damaged = bytearray(written(checksums))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    told = decode_map(bytes(damaged), KEY, CONTENT.size_bytes)
    if place < HEADER_BYTES:
        assert told is None
    else:
        assert told is not None
        assert told.items() <= checksums.items()
        assert len(told) >= len(checksums) - 1


@given(st.binary(max_size=300))
def test_garbage_claims_nothing(garbage: bytes) -> None:
    assert decode_map(garbage, KEY, CONTENT.size_bytes) is None
    assert decode_map(HEADER + garbage, KEY, CONTENT.size_bytes) == {}


def test_a_record_of_another_content_claims_nothing() -> None:
    other = ContentRef("other id", CONTENT.size_bytes)
    theirs = encode_header(content_key(other), other.size_bytes)
    assert decode_map(theirs, KEY, CONTENT.size_bytes) is None
    assert decode_map(HEADER + encode_record(theirs, 0, BLOCK_BYTES, 7), KEY, CONTENT.size_bytes) == {}


def test_a_record_past_the_end_or_of_the_wrong_length_claims_nothing() -> None:
    for index, length in [(41, 5), (41, 0), (40, 6), (0, BLOCK_BYTES - 1)]:
        assert decode_map(HEADER + encode_record(HEADER, index, length, 7), KEY, CONTENT.size_bytes) == {}


def test_contents_of_one_id_and_different_sizes_are_told_apart() -> None:
    assert content_key(ContentRef("1 a", 1)) != content_key(ContentRef("1 a", 11))
    assert content_key(ContentRef("a", 1)) == content_key(ContentRef("a", 1))
