from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.fields import json_bytes
from bitcasafs.dialects.outcomes import OutcomeLine, OutcomeReader, decode_outcome, decode_outcomes, encode_outcome
from bitcasafs.errors import BitcasaError, Busy, NotFound, ProtocolError, Truncated, VersionMismatch
from bitcasafs.values.items import Cursor, Item
from tests.support import strategies


@given(
    st.integers(0, 10**6),
    st.sampled_from([200, 201]),
    st.none() | strategies.items(),
    st.none() | strategies.cursors,
    st.booleans(),
)
def test_a_success_survives_the_wire(
    index: int, status: int, item: Item | None, cursor: Cursor | None, replayed: bool
) -> None:
    line = encode_outcome(index, status, item, None, None, cursor, replayed=replayed)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_outcome(line) == OutcomeLine(index, status, item, None, None, cursor, replayed)


@given(st.none() | strategies.items())
def test_a_failure_survives_the_wire_with_the_present_item(current: Item | None) -> None:
    line = encode_outcome(4, error=VersionMismatch("changed"), current=current)
    found = decode_outcome(line)
    assert (found.index, found.status, found.item, found.current) == (4, 412, None, current)
    assert type(found.error) is VersionMismatch and str(found.error) == "changed"


def test_a_wish_to_wait_is_in_the_line() -> None:
    error = decode_outcome(encode_outcome(0, error=Busy("later", applied=False, retry_after_seconds=2.5))).error
    assert isinstance(error, Busy) and (error.applied, error.retry_after_seconds) == (False, 2.5)


@given(st.lists(strategies.items(), max_size=4), st.integers(1, 200))
def test_lines_are_read_however_they_are_cut(items: list[Item], size: int) -> None:
    body = b"".join(encode_outcome(index, 201, item) for index, item in enumerate(items))
    reader = OutcomeReader(len(items))
    found = [line for start in range(0, len(body), size) for line in reader.feed(body[start : start + size])]
    reader.finish()
    assert reader.done and [line.item for line in found] == items


def test_an_answer_that_ends_early_is_truncated_and_keeps_what_came() -> None:
    reader = OutcomeReader(3)
    body = encode_outcome(0, 200) + encode_outcome(1, error=NotFound("gone")) + encode_outcome(2, 200)[:-5]
    assert len(reader.feed(body)) == 2
    with pytest.raises(Truncated, match="2 of 3") as caught:
        reader.finish()
    assert caught.value.applied is None


@pytest.mark.parametrize("indexes", [[1], [0, 0], [0, 2], [0, 1, 2]])
def test_an_answer_to_another_operation_is_a_named_error(indexes: list[int]) -> None:
    with pytest.raises(ProtocolError, match="was due"):
        decode_outcomes(b"".join(encode_outcome(index, 200) for index in indexes), 2)


def test_a_line_without_end_is_a_named_error() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        OutcomeReader(1).feed(b"x" * (1024 * 1024 + 1))


@given(strategies.hostile_bytes, st.integers(0, 3))
def test_any_body_is_understood_or_a_named_error(body: bytes, operations: int) -> None:
    try:
        decode_outcomes(body, operations)
    except (ProtocolError, Truncated):
        return


@given(strategies.json_objects("i", "status", "item", "error", "cursor", "replay"))
def test_any_object_is_an_outcome_or_a_named_error(fields: dict[str, Any]) -> None:
    for obj in (fields, {"i": 0, "status": 404, **fields}, {"i": 0, "status": 500, "error": fields}):
        try:
            line = json_bytes(obj)
        except ValueError:
            continue
        try:
            found = decode_outcome(line)
        except ProtocolError:
            continue
        assert (found.error is None) == (found.status < 300)
        assert found.error is None or isinstance(found.error, BitcasaError)
