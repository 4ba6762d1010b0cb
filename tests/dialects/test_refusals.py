from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs import errors
from bitcasafs.dialects.fields import json_bytes
from bitcasafs.dialects.refusals import (
    TABLE,
    decode_error,
    decode_retry_after,
    describe_error,
    encode_error,
    read_error,
)
from bitcasafs.errors import BitcasaError, Busy, Malformed, NotFound, Refused, SessionExpired, Unavailable
from tests.support import strategies

# The shared vocabulary alone: a package may narrow a kind for itself, and the wire never sees that.
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, Refused | Unavailable | errors.SessionExpired | errors.LoginRefused)
    and kind not in (Refused, Unavailable, errors.BaseGone)  # BaseGone is what the mount makes of two others
]
PROTOCOL_CODES = {
    400: {"malformed"},
    401: {"session_expired"},
    403: {"read_only", "forbidden"},
    404: {"not_found", "parent_missing"},
    409: {"exists", "not_empty", "is_folder", "not_folder", "loop", "in_progress", "ambiguous"},
    410: {"cursor_expired", "version_gone"},
    412: {"version_mismatch"},
    413: {"too_large"},
    416: {"range"},
    422: {"name_invalid", "key_reused"},
    424: {"predecessor_failed"},
    429: {"busy"},
    460: {"checksum"},
    503: {"busy"},
    507: {"quota"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_a_portal_answers_comes_back_the_same(kind: type[BitcasaError]) -> None:
    status, code, body, headers = encode_error(kind("what happened"))
    error = decode_error(status, body, headers)
    assert type(error) is kind
    assert str(error) == "what happened"
    assert code.encode() in body
    assert status >= 400


def test_every_status_and_code_of_the_protocol_is_in_the_table() -> None:
    known = {(status, code) for _, status, code in TABLE}
    assert {(status, code) for status, codes in PROTOCOL_CODES.items() for code in codes} <= known


@pytest.mark.parametrize(("kind", "status", "code"), TABLE)
def test_every_row_is_read_as_its_kind(kind: type[BitcasaError], status: int, code: str) -> None:
    assert type(read_error(status, {"code": code})) is kind


@pytest.mark.parametrize("applied", [None, True, False])
@pytest.mark.parametrize("wait", [None, 0.0, 2.5, 86_400.0])
def test_what_is_known_of_a_change_and_the_wish_to_wait_come_back(applied: bool | None, wait: float | None) -> None:
    status, _, body, headers = encode_error(Busy("later", applied=applied, retry_after_seconds=wait))
    error = decode_error(status, body, headers)
    assert isinstance(error, Busy) and error.applied is applied
    assert (error.retry_after_seconds is None) == (wait is None)
    assert wait is None or wait <= (error.retry_after_seconds or 0) < wait + 1
    assert ("Retry-After" in headers) == (wait is not None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Malformed),
        (401, SessionExpired),
        (403, errors.Forbidden),
        (404, NotFound),
        (405, errors.Unsupported),
        (409, errors.Exists),
        (410, errors.VersionGone),
        (418, Malformed),
        (429, Busy),
        (500, Busy),
        (502, Busy),
        (503, Busy),
        (504, Busy),
        (507, errors.QuotaExceeded),
        (599, Busy),
        (302, Malformed),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>502 Bad Gateway</html>", b'{"error":"text"}', b"[]"])
def test_without_a_code_the_status_decides(status: int, kind: type[BitcasaError], body: bytes) -> None:
    error = decode_error(status, body, {})
    assert type(error) is kind
    assert str(status) in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failure_of_a_gateway_leaves_open_whether_the_change_happened(status: int) -> None:
    error = decode_error(status, b"<html>", {})
    assert isinstance(error, Busy) and error.applied is None


def test_429_was_certainly_not_applied() -> None:
    error = decode_error(429, b"", {"retry-after": "7"})
    assert isinstance(error, Busy) and error.applied is False and error.retry_after_seconds == 7


def test_a_code_does_not_turn_a_status_into_another_kind() -> None:
    assert type(read_error(503, {"code": "not_found"})) is Busy


def test_kinds_of_the_server_itself_are_internal_errors() -> None:
    assert encode_error(errors.ProtocolError("what"))[:2] == (500, "internal")
    assert encode_error(errors.NoSpace("full"))[:2] == (507, "quota")
    assert encode_error(Unavailable("x"))[:2] == (503, "busy")
    assert describe_error(NotFound("x" * 10_000))[1]["message"] == "x" * 500


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12),
        ({"RETRY-AFTER": " 0 "}, 0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "9" * 19}, 86_400),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], expected: float | None) -> None:
    assert decode_retry_after(headers) == expected


def test_a_date_counts_from_the_clock_when_the_answer_has_none() -> None:
    assert decode_retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, now_seconds=20.0) == 40


@given(
    st.integers(100, 999),
    strategies.hostile_bytes,
    st.dictionaries(st.sampled_from(["Retry-After", "date", "Date"]), st.text(max_size=40)),
)
def test_any_answer_is_an_error_of_some_kind(status: int, body: bytes, headers: dict[str, str]) -> None:
    assert isinstance(decode_error(status, body, headers, now_seconds=0), BitcasaError)


@given(st.integers(100, 999), strategies.json_objects("code", "message", "applied", "retry_after"))
def test_any_error_object_is_an_error_of_some_kind(status: int, fields: dict[str, Any]) -> None:
    assert isinstance(read_error(status, fields), BitcasaError)
    try:
        body = json_bytes({"error": fields})
    except ValueError:
        return
    assert isinstance(decode_error(status, body, {}), BitcasaError)
