"""The body of an upload: multipart/form-data with one file (portal protocol 1.7; RFC 7578).

The client writes a prefix, the content and a suffix, so that the length is known before the first byte. The server
reads with python-multipart's parser, sans-IO: bytes in, events out; the content is never gathered.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError

from bitcasafs.dialects.names import check_name
from bitcasafs.errors import Malformed, NameNotUtf8, TooLarge, Truncated

MAX_FIELDS = 32
FIELD_LIMIT_BYTES = 65_536
HEADER_LIMIT_BYTES = 8_192
_MAX_HEADERS = 16
_PLAIN_NAME = re.compile(r'[^"\\%\x00-\x1f\x7f]+')
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*([a-z0-9_-]+)(\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.IGNORECASE | re.DOTALL)
# The parser warns of every malformed body, then raises: the error is enough.
_SILENT = logging.Logger("multipart", level=logging.CRITICAL + 1)  # noqa: LOG001  # of no family, so nobody hears it


@dataclass(frozen=True, slots=True)
class FileStarted:
    """The file part began. `filename` is a valid name; `content_type` None: not said."""

    filename: str
    content_type: str | None


@dataclass(frozen=True, slots=True)
class FileData:
    """The next bytes of the file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FileEnded:
    """The file is whole, as far as its part tells; see `UploadReader.finish`."""


UploadEvent = FileStarted | FileData | FileEnded


def content_type(boundary: str) -> str:
    """The request's Content-Type."""
    return f"multipart/form-data; boundary={boundary}"


def upload_prefix(filename: str, boundary: str) -> bytes:
    """What comes before the content. A name with quotes, backslashes, percent signs or control characters goes as RFC
    2231 alone, since readers differ in how they unescape quoted ones; any other as raw UTF-8."""
    name = check_name(filename)
    extended = f"filename*=UTF-8''{quote(name, safe='')}"
    parameter = f'filename="{name}"' if _PLAIN_NAME.fullmatch(name) else extended
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; {parameter}\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


def upload_suffix(boundary: str) -> bytes:
    """What comes after the content."""
    return f"\r\n--{boundary}--\r\n".encode()


def parse_boundary(value: str | None) -> bytes | None:
    """The boundary of a Content-Type; None when there is no Content-Type (the body then shows it). Malformed for any
    other type."""
    if not value:
        return None
    match = _BOUNDARY.search(value)
    if not value.strip().lower().startswith("multipart/form-data") or match is None:
        raise Malformed("an upload is multipart/form-data with a boundary")
    try:
        return (match[1] or match[2]).encode("latin-1")
    except UnicodeError:
        raise Malformed("the boundary of an upload is ASCII") from None


def parse_disposition(value: bytes) -> tuple[str, str | None]:
    """Name of the part and filename (None: a plain field) of a Content-Disposition. NameNotUtf8.

    RFC 2231 counts before the quoted form. In the quoted form `\\"` and `\\\\` are unescaped, and `%22`, `%0D`, `%0A`
    as browsers write them; every other percent sign and backslash is part of the name.
    """
    plain: dict[bytes, bytes] = {}
    extended: dict[bytes, bytes] = {}
    for key, star, quoted, token in _PARAMETER.findall(value):
        if star:
            extended.setdefault(key.lower(), (quoted or token).strip())
        else:
            plain.setdefault(key.lower(), _unescape(quoted) if quoted else token.strip().strip(b'"'))
    name = plain.get(b"name", b"").decode("utf-8", "replace")
    if b"filename" in extended:
        return name, _extended(extended[b"filename"])
    if b"filename" not in plain:
        return name, None
    try:
        return name, plain[b"filename"].decode("utf-8")
    except UnicodeError:
        raise NameNotUtf8(f"the file name {plain[b'filename']!r} is not UTF-8") from None


def _unescape(quoted: bytes) -> bytes:
    unescaped = re.sub(rb'\\(["\\])', rb"\1", quoted)
    return unescaped.replace(b"%22", b'"').replace(b"%0D", b"\r").replace(b"%0A", b"\n")


def _extended(value: bytes) -> str:
    charset, tick, rest = value.partition(b"'")
    encoded = rest.partition(b"'")[2] if tick else value
    known = {b"utf-8": "utf-8", b"utf8": "utf-8", b"iso-8859-1": "latin-1", b"us-ascii": "ascii", b"": "utf-8"}
    encoding = known.get(charset.strip().lower() if tick else b"")
    try:
        if encoding is None:
            raise UnicodeError
        return unquote_to_bytes(encoded).decode(encoding)
    except UnicodeError:
        raise NameNotUtf8(f"the file name {value!r} cannot be read") from None


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    field_name: bytearray = field(default_factory=bytearray)
    field_value: bytearray = field(default_factory=bytearray)
    name: str = ""
    is_file: bool = False
    text: bytearray = field(default_factory=bytearray)


class UploadReader:
    """One upload as it arrives. Small fields beside the file are gathered in `fields`."""

    def __init__(self, boundary: bytes | None) -> None:
        self.fields: dict[str, str] = {}
        self._events: list[UploadEvent] = []
        self._first_line = b""
        self._parser = self._make_parser(boundary) if boundary is not None else None
        self._part = _Part()
        self._parts = 0
        self._file_seen = False
        self._ended = False

    def feed(self, data: bytes) -> list[UploadEvent]:
        """The events in `data`. Malformed, TooLarge, NameInvalid, NameNotUtf8."""
        if self._parser is None:
            data = self._first_line = self._first_line + data
            self._parser = self._sniff(data)
            if self._parser is None:
                return []
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Malformed(f"the upload is not multipart/form-data: {error}") from None
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """At the end of the body. Truncated: it ended early. Malformed: it is whole and has no file."""
        if not self._ended:
            raise Truncated("the upload ended before its last boundary", applied=False)
        if not self._file_seen:
            raise Malformed("the upload has no part with a file name")

    def _sniff(self, data: bytes) -> MultipartParser | None:
        """For clients that send no Content-Type: the first line is the boundary."""
        line, end, _ = data.partition(b"\r\n")
        if not end and len(data) <= 256:
            return None
        if not line.startswith(b"--") or not 3 <= len(line) <= 202:
            raise Malformed("the upload has no boundary")
        return self._make_parser(line[2:])

    def _make_parser(self, boundary: bytes) -> MultipartParser:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=HEADER_LIMIT_BYTES,
        )
        parser.logger = _SILENT
        return parser

    def _on_part_begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise TooLarge(f"an upload has at most {MAX_FIELDS} parts")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.field_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.field_value += data[start:end]

    def _on_header_end(self) -> None:
        part = self._part
        part.headers[bytes(part.field_name).strip().lower()] = bytes(part.field_value).strip()
        part.field_name.clear()
        part.field_value.clear()

    def _on_headers_finished(self) -> None:
        part = self._part
        part.name, filename = parse_disposition(part.headers.get(b"content-disposition", b""))
        if filename is None:
            return
        if self._file_seen:
            raise Malformed("an upload has one file")
        self._file_seen = part.is_file = True
        media = part.headers.get(b"content-type", b"").decode("latin-1")
        self._events.append(FileStarted(check_name(filename), media or None))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self._events.append(FileData(data[start:end]))
            return
        self._part.text += data[start:end]
        if len(self._part.text) > FIELD_LIMIT_BYTES:
            raise TooLarge(f"a field of an upload has at most {FIELD_LIMIT_BYTES} bytes")

    def _on_part_end(self) -> None:
        if self._part.is_file:
            self._events.append(FileEnded())
            return
        try:
            self.fields.setdefault(self._part.name, self._part.text.decode("utf-8"))
        except UnicodeError:
            raise Malformed("a field of the upload is not UTF-8") from None

    def _on_end(self) -> None:
        self._ended = True
