"""Byte ranges, versions as entity tags, conditions and digests of a download (portal protocol 1.6, part 2; RFC 9110,
9530). Ranges are half-open here, closed on the wire; the translation is in this module alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from bitcasafs.dialects.messages import header
from bitcasafs.errors import ProtocolError, RangeInvalid, VersionMismatch
from bitcasafs.values.items import Version

# RFC 9110 sets no bound on the digits: "to the end" is sometimes written as a huge number, which the size clamps.
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,100})\s*-\s*(\d{0,100})", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_ETAG = re.compile(r'\s*(W/)?(?:"([^"]*)"|([^\s",]+))\s*(?:,|$)')
_ETAG_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%,\\')
_DIGEST = re.compile(r"\s*([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:,|$)")
_WIRE_NAME = {"md5": "md5", "sha256": "sha-256", "sha512": "sha-512"}
_OUR_NAME = {wire: ours for ours, wire in _WIRE_NAME.items()}


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Bytes [start, stop) of `total` (None: not told)."""

    start: int
    stop: int
    total: int | None


@dataclass(frozen=True, slots=True)
class EntityTags:
    """The value of If-Match or If-None-Match: `*`, or versions, some of them weak."""

    anything: bool = False
    tags: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()

    def match_strong(self, version: Version) -> bool:
        """As If-Match compares."""
        return self.anything or version in self.tags

    def match_weak(self, version: Version) -> bool:
        """As If-None-Match compares."""
        return self.anything or version in self.tags or version in self.weak


@dataclass(frozen=True, slots=True)
class Download:
    """What to answer: 200 with everything, 206 with [start, stop), or 304 with nothing."""

    status: int
    start: int
    stop: int


def encode_range(start: int, stop: int) -> str:
    """The value of Range for [start, stop), which is not empty."""
    assert 0 <= start < stop, "HTTP has no empty range"
    return f"bytes={start}-{stop - 1}"


def parse_range(value: str | None, size_bytes: int) -> tuple[int, int] | None:
    """[start, stop) clamped to the size; None: no range, or one that is to be ignored (several, another unit).

    RangeInvalid when it starts past the end.
    """
    match = _RANGE.fullmatch(value.strip()) if value is not None else None
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(0, size_bytes - int(match[2])), size_bytes
    else:
        start, stop = int(match[1]), size_bytes
        if match[2] != "":
            if int(match[2]) < start:
                return None
            stop = min(size_bytes, int(match[2]) + 1)
    if start >= size_bytes or start >= stop:
        raise RangeInvalid(f"the range {value} starts past the end of {size_bytes} bytes")
    return start, stop


def encode_content_range(start: int, stop: int, total: int) -> str:
    """The value of Content-Range of a 206."""
    return f"bytes {start}-{stop - 1}/{total}"


def unsatisfied_content_range(total: int) -> str:
    """The value of Content-Range of a 416."""
    return f"bytes */{total}"


def decode_content_range(value: str | None) -> ContentRange:
    """ProtocolError when it is missing or nonsense."""
    match = _CONTENT_RANGE.fullmatch((value or "").strip())
    if match is None:
        raise ProtocolError("Content-Range is not a range of bytes", value)
    start, stop = int(match[1]), int(match[2]) + 1
    total = None if match[3] == "*" else int(match[3])
    if start >= stop or (total is not None and stop > total):
        raise ProtocolError("Content-Range is not a range of bytes", value)
    return ContentRange(start, stop, total)


def encode_etag(version: Version) -> str:
    """The version as a strong entity tag; what a tag cannot hold is percent-encoded."""
    return f'"{quote(version, safe=_ETAG_SAFE, errors="surrogatepass")}"'


def decode_etag(value: str | None) -> Version | None:
    """None when there is none, when it is weak, or when it is not one tag."""
    tags = parse_etags(value or "")
    return Version(next(iter(tags.tags))) if len(tags.tags) == 1 and not tags.weak and not tags.anything else None


def parse_etags(value: str) -> EntityTags:
    """Never raises; tags without quotes are tolerated, what is no tag at all is left out (it can match nothing)."""
    if value.strip() == "*":
        return EntityTags(anything=True)
    strong: set[str] = set()
    weak: set[str] = set()
    for match in _ETAG.finditer(value):
        (weak if match[1] else strong).add(unquote(match[2] if match[2] is not None else match[3]))
    return EntityTags(False, frozenset(strong), frozenset(weak))


def plan_download(headers: Mapping[str, str], size_bytes: int, version: Version | None) -> Download:
    """What a GET of this content is to be answered with, in the order of RFC 9110, 13.2.2.

    VersionMismatch (If-Match), RangeInvalid (416: answer `unsatisfied_content_range` too). Without a version the
    conditions are ignored, as on a historical portal; a Range with an If-Range that does not hold is everything.
    """
    wanted = header(headers, "Range")
    if version is not None:
        if_match, none_match = header(headers, "If-Match"), header(headers, "If-None-Match")
        if if_match is not None and not parse_etags(if_match).match_strong(version):
            raise VersionMismatch("this content is not the version that was asked for")
        if none_match is not None and parse_etags(none_match).match_weak(version):
            return Download(304, 0, 0)
        if_range = header(headers, "If-Range")
        if if_range is not None and decode_etag(if_range) != version:
            wanted = None
    part = parse_range(wanted, size_bytes)
    return Download(200, 0, size_bytes) if part is None else Download(206, *part)


def encode_repr_digest(digests: Mapping[str, str]) -> str:
    """The value of Repr-Digest for hex digests by name (md5, sha256, sha512); others are left out."""
    return ", ".join(
        f"{_WIRE_NAME[name]}=:{base64.b64encode(bytes.fromhex(value)).decode('ascii')}:"
        for name, value in sorted(digests.items())
        if name in _WIRE_NAME
    )


def decode_repr_digest(value: str | None) -> dict[str, str]:
    """Hex digests by name; what is not understood is left out. Never raises."""
    found = {}
    for match in _DIGEST.finditer(value or ""):
        try:
            if match[1] in _OUR_NAME:
                found[_OUR_NAME[match[1]]] = base64.b64decode(match[2], validate=True).hex()
        except binascii.Error:
            continue
    return found
