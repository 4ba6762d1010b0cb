from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.multipart import (
    FIELD_LIMIT_BYTES,
    FileData,
    FileEnded,
    FileStarted,
    UploadReader,
    content_type,
    parse_boundary,
    parse_disposition,
    upload_prefix,
    upload_suffix,
)
from bitcasafs.errors import BitcasaError, Malformed, NameInvalid, NameNotUtf8, Refused, TooLarge, Truncated
from tests.support import strategies

BOUNDARY = "b0undary"


def _read(body: bytes, size: int, boundary: bytes | None = BOUNDARY.encode()) -> tuple[str, bytes, dict[str, str]]:
    reader = UploadReader(boundary)
    name, content, ended = "", b"", False
    for start in range(0, len(body), size):
        for event in reader.feed(body[start : start + size]):
            if isinstance(event, FileStarted):
                name = event.filename
            elif isinstance(event, FileData):
                content += event.data
            else:
                assert isinstance(event, FileEnded)
                ended = True
    reader.finish()
    assert ended
    return name, content, reader.fields


def _part(disposition: bytes, content: bytes = b"x", *headers: bytes) -> bytes:
    lines = [b"--" + BOUNDARY.encode(), b"Content-Disposition: " + disposition, *headers, b"", content]
    return b"\r\n".join(lines) + b"\r\n"


END = b"--" + BOUNDARY.encode() + b"--\r\n"


@given(strategies.names, st.binary(max_size=100), st.integers(1, 50), st.booleans())
def test_an_upload_survives_the_wire_however_it_is_cut(name: str, content: bytes, size: int, told: bool) -> None:
    body = upload_prefix(name, BOUNDARY) + content + upload_suffix(BOUNDARY)
    boundary = parse_boundary(content_type(BOUNDARY)) if told else None
    assert _read(body, size, boundary) == (name, content, {})


@given(st.lists(st.sampled_from([b"\r\n", b"--", BOUNDARY.encode(), b"\r", b"\n", b"-", b"x"])), st.integers(1, 20))
def test_content_that_nearly_is_a_boundary_comes_through(parts: list[bytes], size: int) -> None:
    content = b"".join(parts).replace(f"\r\n--{BOUNDARY}".encode(), b"")
    if f"\r\n--{BOUNDARY}".encode() in b"\r\n" + content:
        return
    body = upload_prefix("a", BOUNDARY) + content + upload_suffix(BOUNDARY)
    assert _read(body, size)[1] == content


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="file"; filename="a.txt"', "a.txt"),
        (b"form-data; name=file; filename=a.txt", "a.txt"),
        ('form-data; name="file"; filename="é ü.txt"'.encode(), "é ü.txt"),
        (b"form-data; name=\"file\"; filename*=utf-8''%C3%A9.txt", "é.txt"),
        (b'form-data; name="file"; filename="e.txt"; filename*=UTF-8\'\'%C3%A9.txt', "é.txt"),
        (b"form-data; name=\"file\"; filename*=iso-8859-1'en'%E9.txt", "é.txt"),
        (b'form-data; name="file"; filename="a\\"b\\\\c.txt"', 'a"b\\c.txt'),
        (b'form-data; name="file"; filename="a%22b.txt"', 'a"b.txt'),
        (b'form-data; name="file"; filename="100%25.txt"', "100%25.txt"),
        (b'form-data; name="file"; filename="a;b=c.txt"', "a;b=c.txt"),
        (b'form-data; filename="C:\\dir\\f.txt"; name="file"', "C:\\dir\\f.txt"),
        (b'FORM-DATA; NAME="file"; FILENAME="a"', "a"),
    ],
)
def test_each_spelling_of_a_file_name_is_read(disposition: bytes, name: str) -> None:
    assert parse_disposition(disposition) == ("file", name)
    assert _read(_part(disposition) + END, 7) == (name, b"x", {})


def test_a_part_without_a_content_type_and_fields_beside_the_file_are_read() -> None:
    body = (
        _part(b'form-data; name="note"', "é".encode())
        + _part(b'form-data; name="file"; filename="a"', b"data")
        + _part(b'form-data; name="later"', b"")
        + END
    )
    assert _read(body, 11) == ("a", b"data", {"note": "é", "later": ""})


def test_a_content_type_is_told() -> None:
    reader = UploadReader(BOUNDARY.encode())
    [started, *_] = reader.feed(_part(b'form-data; name="file"; filename="a"', b"x", b"content-type: image/png"))
    assert started == FileStarted("a", "image/png")


@pytest.mark.parametrize(
    ("disposition", "kind"),
    [
        (b'form-data; name="file"; filename="a/b"', NameInvalid),
        (b'form-data; name="file"; filename=".."', NameInvalid),
        (b'form-data; name="file"; filename=""', NameInvalid),
        (b'form-data; name="file"; filename="' + b"a" * 256 + b'"', NameInvalid),
        (b'form-data; name="file"; filename="\xff"', NameNotUtf8),
        (b"form-data; name=\"file\"; filename*=utf-8''%FF", NameNotUtf8),
        (b"form-data; name=\"file\"; filename*=klingon''a", NameNotUtf8),
    ],
)
def test_a_file_name_that_is_no_name_is_refused(disposition: bytes, kind: type[BitcasaError]) -> None:
    with pytest.raises(kind):
        _read(_part(disposition) + END, 1000)


@given(st.data())
def test_an_upload_cut_anywhere_is_truncated(data: st.DataObject) -> None:
    body = upload_prefix("a", BOUNDARY) + b"content" + upload_suffix(BOUNDARY)
    # The line end after the last boundary says nothing any more.
    length = data.draw(st.integers(0, len(body) - 4))
    reader = UploadReader(BOUNDARY.encode())
    assert FileEnded() not in reader.feed(body[:length]) or length > len(body) - 4 - len(BOUNDARY) - 4
    with pytest.raises(Truncated) as caught:
        reader.finish()
    assert caught.value.applied is False


@pytest.mark.parametrize(
    "body",
    [
        _part(b'form-data; name="file"') + END,
        _part(b"form-data") + END,
        _part(b'form-data; name="f"; filename="a"') + _part(b'form-data; name="f"; filename="b"') + END,
        _part(b'form-data; name="note"', b"\xff") + END,
        b"--other\r\n\r\n",
        b"plain text",
        b"--" + BOUNDARY.encode() + b"\r\nbad header\r\n\r\n",
    ],
)
def test_a_body_that_is_not_one_file_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        _read(body, 1000)


def test_fields_headers_and_parts_have_limits() -> None:
    with pytest.raises(TooLarge):
        _read(_part(b'form-data; name="note"', bytes(FIELD_LIMIT_BYTES + 1)) + END, 10_000)
    with pytest.raises(TooLarge):
        _read(_part(b'form-data; name="note"') * 33 + END, 10_000)
    with pytest.raises(Malformed):
        _read(_part(b'form-data; name="' + b"x" * 10_000 + b'"') + END, 10_000)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; BOUNDARY="a b"', b"a b"),
    ],
)
def test_the_boundary_is_found(value: str | None, expected: bytes | None) -> None:
    assert parse_boundary(value) == expected


@pytest.mark.parametrize(
    "value", ["text/plain; boundary=a", "multipart/form-data", "multipart/form-data; boundary=\u2603"]
)
def test_a_type_without_a_boundary_is_malformed(value: str) -> None:
    with pytest.raises(Malformed):
        parse_boundary(value)


@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from(
            [b"--" + BOUNDARY.encode(), b"\r\n", b"Content-Disposition: ", b'form-data; filename="a"', END]
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_any_body_is_read_or_refused(pieces: list[bytes], told: bool) -> None:
    reader = UploadReader(BOUNDARY.encode() if told else None)
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.finish()
    except (Refused, Truncated):
        return


@given(
    st.binary()
    | st.lists(st.sampled_from([b";", b"filename", b"*", b"=", b'"', b"\\", b"'", b"%4", b"a"])).map(b"".join)
)
def test_any_disposition_is_read_or_refused(value: bytes) -> None:
    try:
        parse_disposition(value)
    except NameNotUtf8:
        return
