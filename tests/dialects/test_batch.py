from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.batch import (
    CONTENT_END,
    HEADER_LIMIT_BYTES,
    HEADERS_LIMIT_BYTES,
    BatchReader,
    Content,
    ContentEnd,
    Event,
    OperationRefused,
    OperationStarted,
    encode_operation,
    frame_bytes,
    references,
)
from bitcasafs.dialects.discovery import BatchLimits
from bitcasafs.errors import Malformed, NameInvalid, Refused, TooLarge, Truncated
from bitcasafs.values.items import Address, AttributeChange, NodeId
from bitcasafs.values.operations import Made, Mkdir, Move, Operation, Put, SetAttributes
from tests.support import strategies

FOLDER = Address("/.node/n", NodeId("n"))
WIDE = BatchLimits(1000, 2**30, 2**20)


def _frame(operation: Operation, content: bytes = b"") -> bytes:
    return encode_operation(operation) + (content + CONTENT_END if isinstance(operation, Put) else b"")


def _read(pieces: Iterable[bytes], limits: BatchLimits = WIDE) -> tuple[list[Event], int]:
    reader = BatchReader(limits)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events, reader.finish()


def _contents(events: Sequence[Event]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    index = -1
    for event in events:
        if isinstance(event, OperationStarted):
            index = event.index
        elif isinstance(event, Content):
            found[index] = found.get(index, b"") + event.data
        elif isinstance(event, ContentEnd):
            found.setdefault(event.index, b"")
    return found


def _cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@given(st.lists(strategies.operations, max_size=6), st.integers(1, 300))
def test_a_batch_survives_the_wire_however_it_is_cut(operations: list[Operation], size: int) -> None:
    contents = [bytes([index]) * getattr(operation, "size_bytes", 0) for index, operation in enumerate(operations)]
    body = b"".join(map(_frame, operations, contents))
    assert len(body) == sum(map(frame_bytes, operations))
    events, count = _read(_cut(body, size))
    assert count == len(operations)
    for index, operation in enumerate(operations):
        if all(named < index for named in references(operation)):
            assert OperationStarted(index, operation) in events
            if isinstance(operation, Put):
                assert _contents(events)[index] == contents[index]
        else:
            refused = [event for event in events if isinstance(event, OperationRefused) and event.index == index]
            assert len(refused) == 1 and isinstance(refused[0].error, Malformed)


def test_content_may_hold_anything_that_looks_like_a_frame() -> None:
    inner = _frame(Mkdir(FOLDER, "not a folder")) * 2 + b"\n\n"
    events, count = _read([_frame(Put(FOLDER, "a", len(inner)), inner) + _frame(Mkdir(FOLDER, "b"))])
    assert count == 2 and _contents(events) == {0: inner}
    assert events[-1] == OperationStarted(1, Mkdir(FOLDER, "b"))


def test_an_empty_put_has_its_end_and_no_content() -> None:
    events, _ = _read([_frame(Put(FOLDER, "a", 0))])
    assert events == [OperationStarted(0, Put(FOLDER, "a", 0)), ContentEnd(0)]


def test_one_bad_operation_among_a_thousand_stops_nothing() -> None:
    frames = [_frame(Put(FOLDER, f"f{index}", 3), b"abc") for index in range(1000)]
    frames[500] = b'{"op":"put","parent":{"node":"n"},"name":"a/b","size":3}\nxyz\n'
    events, count = _read(_cut(b"".join(frames), 1000))
    assert count == 1000
    refused = [event for event in events if isinstance(event, OperationRefused)]
    assert [(event.index, type(event.error)) for event in refused] == [(500, NameInvalid)]
    assert set(_contents(events)) == set(range(1000)) - {500}
    assert b"xyz" not in _contents(events).values()


def test_an_unknown_operation_with_content_is_skipped_whole() -> None:
    events, count = _read([b'{"op":"novel","size":4}\n{"a"\n' + _frame(Mkdir(FOLDER, "b"))])
    assert count == 2
    assert isinstance(events[0], OperationRefused) and isinstance(events[0].error, Malformed)
    assert events[1:] == [OperationStarted(1, Mkdir(FOLDER, "b"))]


def test_only_a_put_has_content() -> None:
    events, _ = _read([b'{"op":"mkdir","parent":{"node":"n"},"name":"b","size":0}\n\n'])
    assert isinstance(events[0], OperationRefused) and len(events) == 1


@given(st.data())
def test_a_batch_cut_anywhere_inside_a_frame_is_truncated(data: st.DataObject) -> None:
    first, second = _frame(Put(FOLDER, "a", 5), b"hello"), _frame(Mkdir(FOLDER, "b"))
    body = first + second
    length = data.draw(st.integers(1, len(body) - 1))
    reader = BatchReader(WIDE)
    assert list(reader.feed(body[:length]))[:0] == []
    if length == len(first):
        assert reader.finish() == 1
    else:
        with pytest.raises(Truncated) as caught:
            reader.finish()
        assert caught.value.applied is False


def test_content_longer_than_its_size_is_malformed() -> None:
    with pytest.raises(Malformed, match="operation 0"):
        _read([encode_operation(Put(FOLDER, "a", 2)) + b"abc\n"])


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"{\n",
        b'{"op":"put","size":"3"}\n',
        b'{"op":"put","size":-1}\n',
        b"\xff\n",
        b"[" * 99_999 + b"\n",
    ],
)
def test_a_line_that_cannot_be_followed_ends_the_batch(line: bytes) -> None:
    with pytest.raises(Malformed):
        _read([line])


def test_limits_are_kept() -> None:
    mkdir = _frame(Mkdir(FOLDER, "a"))
    with pytest.raises(TooLarge, match="3 operations"):
        _read([mkdir * 4], BatchLimits(3, 10_000, 10))
    with pytest.raises(TooLarge, match="100 bytes"):
        _read([mkdir * 4], BatchLimits(3, 100, 10))
    with pytest.raises(TooLarge, match="a line"):
        _read(_cut(b"x" * (HEADER_LIMIT_BYTES + 1), 1000))
    events, _ = _read([_frame(Put(FOLDER, "a", 11), bytes(11)) + mkdir], BatchLimits(3, 10_000, 10))
    assert isinstance(events[0], OperationRefused) and isinstance(events[0].error, TooLarge)
    assert events[1] == OperationStarted(1, Mkdir(FOLDER, "a"))


def test_the_largest_xattr_fits_one_line() -> None:
    line = encode_operation(SetAttributes(FOLDER, AttributeChange(xattrs={"user." + "a" * 250: bytes(65_536)})))
    assert len(line) <= HEADER_LIMIT_BYTES
    assert _read([line])[1] == 1
    two = AttributeChange(xattrs={"user.a": bytes(65_536), "user.b": bytes(65_536)})
    with pytest.raises(TooLarge):
        encode_operation(SetAttributes(FOLDER, two))


def test_an_operation_names_only_those_before_it() -> None:
    events, _ = _read([_frame(Mkdir(Made(0), "a")) + _frame(Mkdir(FOLDER, "b")) + _frame(Mkdir(Made(1), "c"))])
    assert [type(event) for event in events] == [OperationRefused, OperationStarted, OperationStarted]
    assert references(Move(Made(1), Made(2), "x")) == {1, 2}
    assert references(Mkdir(FOLDER, "x")) == set()


@given(st.lists(strategies.hostile_bytes.filter(lambda data: len(data) < 1000), max_size=5))
def test_any_body_is_followed_or_refused(pieces: list[bytes]) -> None:
    try:
        _read(pieces)
    except (Refused, Truncated):
        return


def test_the_lines_of_a_batch_are_bounded_together() -> None:
    line = b'{"op":"fly","x":"' + b"x" * 100_000 + b'"}\n'
    reader = BatchReader(BatchLimits(operations=1000, bytes=2**40, content=2**40))
    fitting = HEADERS_LIMIT_BYTES // (len(line) - 1)
    for _ in range(fitting):
        assert len(list(reader.feed(line))) == 1
    with pytest.raises(TooLarge, match="lines"):
        list(reader.feed(line))
