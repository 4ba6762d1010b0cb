"""The one table between kinds of errors and the wire's status and code, both ways (portal protocol 1.10, 2.7).

On the wire: a status, and the body `{"error": {"code", "message"}}`; an error of kind Unavailable adds `applied` when
it is known and `retry_after` (seconds), which the header Retry-After repeats. Lines of a batch carry the same object.
Old portals send a status alone, and gateways send HTML: then the status decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from bitcasafs import errors
from bitcasafs.dialects.fields import JsonObject, json_bytes, parse_object
from bitcasafs.dialects.messages import JSON_TYPE, RETRY_AFTER, header
from bitcasafs.errors import BitcasaError, ProtocolError, Unavailable

RETRY_AFTER_LIMIT_SECONDS = 86_400.0
_MESSAGE_CHARACTERS = 500

TABLE: Final[tuple[tuple[type[BitcasaError], int, str], ...]] = (
    (errors.Malformed, 400, "malformed"),
    (errors.Truncated, 400, "truncated"),
    (errors.SessionExpired, 401, "session_expired"),
    (errors.LoginRefused, 401, "login_refused"),
    (errors.Forbidden, 403, "forbidden"),
    (errors.ReadOnly, 403, "read_only"),
    (errors.NotFound, 404, "not_found"),
    (errors.NotFound, 404, "parent_missing"),
    (errors.TimedOut, 408, "timed_out"),
    (errors.Exists, 409, "exists"),
    (errors.NotEmpty, 409, "not_empty"),
    (errors.IsFolder, 409, "is_folder"),
    (errors.NotFolder, 409, "not_folder"),
    (errors.Loop, 409, "loop"),
    (errors.Ambiguous, 409, "ambiguous"),
    (errors.VersionGone, 410, "version_gone"),
    (errors.CursorExpired, 410, "cursor_expired"),
    (errors.VersionMismatch, 412, "version_mismatch"),
    (errors.TooLarge, 413, "too_large"),
    (errors.RangeInvalid, 416, "range"),
    (errors.NameInvalid, 422, "name_invalid"),
    (errors.NameNotUtf8, 422, "name_not_utf8"),
    (errors.KeyReused, 422, "key_reused"),
    (errors.PredecessorFailed, 424, "predecessor_failed"),
    (errors.ChecksumMismatch, 460, "checksum"),
    (errors.Unsupported, 501, "unsupported"),
    (errors.Unreachable, 502, "unreachable"),
    (errors.Busy, 503, "busy"),
    (errors.QuotaExceeded, 507, "quota"),
    # What comes below is read, and written by whoever asks for it by code.
    (errors.Busy, 409, "in_progress"),
    (errors.Busy, 429, "busy"),
    (errors.Busy, 500, "internal"),
)
"""Kind, status, code. The first row of a kind is how it is written, the first row of a code how it is read; the first
row of a status is what that status means without a code."""

_BY_CODE = {code: kind for kind, _, code in reversed(TABLE)}
_BY_STATUS = {status: kind for kind, status, _ in reversed(TABLE)}
# A server whose own disk is full says so as a quota: the kind NoSpace is about the client's machine.
_WRITTEN = {kind: (status, code) for kind, status, code in reversed(TABLE)} | {errors.NoSpace: (507, "quota")}
_SURELY_NOT_APPLIED = frozenset({"truncated", "timed_out", "checksum"})


def describe_error(error: BitcasaError) -> tuple[int, dict[str, Any]]:
    """Status and the object under `error`: what a response and a line of a batch have in common."""
    status, code = _status_and_code(error)
    fields: dict[str, Any] = {"code": code, "message": str(error)[:_MESSAGE_CHARACTERS]}
    if isinstance(error, Unavailable):
        if error.applied is not None:
            fields["applied"] = error.applied
        if error.retry_after_seconds is not None:
            fields["retry_after"] = error.retry_after_seconds
    return status, fields


def encode_error(error: BitcasaError) -> tuple[int, str, bytes, dict[str, str]]:
    """Status, code, body and headers of an answer."""
    status, fields = describe_error(error)
    headers = {"Content-Type": JSON_TYPE}
    if "retry_after" in fields:
        headers[RETRY_AFTER] = str(max(0, -int(-fields["retry_after"] // 1)))
    return status, fields["code"], json_bytes({"error": fields}), headers


def read_error(status: int, fields: JsonObject, retry_after_seconds: float | None = None) -> BitcasaError:
    """The error of a status and the object under `error`, which may be empty."""
    code = fields.get("code")
    # A code is believed only with a status of failure that belongs to it: 5xx from a gateway stay what they are.
    kind = _BY_CODE.get(code) if isinstance(code, str) else None
    if kind is None or not _belongs(kind, status, code):
        kind, code = _by_status(status), None
    message = fields.get("message")
    said = message[:_MESSAGE_CHARACTERS] if isinstance(message, str) and message else f"the portal answered {status}"
    if not issubclass(kind, Unavailable):
        return kind(said)
    wait = fields.get("retry_after")
    if isinstance(wait, int | float) and not isinstance(wait, bool) and retry_after_seconds is None:
        retry_after_seconds = _bounded(wait)
    return kind(said, applied=_applied(status, code, fields), retry_after_seconds=retry_after_seconds)


def decode_error(
    status: int, body: bytes, headers: Mapping[str, str], *, now_seconds: float | None = None
) -> BitcasaError:
    """The error of a response that is not a success; never raises. `now_seconds` (Unix time) is for a Retry-After
    that is a date where the answer has no Date."""
    try:
        fields = parse_object(body, "error")
        error = fields.get("error")
        fields = error if isinstance(error, dict) else {}
    except ProtocolError:
        fields = {}
    return read_error(status, fields, decode_retry_after(headers, now_seconds=now_seconds))


def decode_retry_after(headers: Mapping[str, str], *, now_seconds: float | None = None) -> float | None:
    """Seconds to wait, 0..86,400, from seconds or an HTTP date; None when there is none that can be read."""
    value = (header(headers, RETRY_AFTER) or "").strip()
    if value.isascii() and value.replace(".", "", 1).isdigit() and len(value) < 20:
        return _bounded(float(value))
    moment = _http_date(value)
    sent = _http_date(header(headers, "Date") or "")
    now = sent if sent is not None else now_seconds
    if moment is None or now is None:
        return None
    return _bounded(moment - now)


def _status_and_code(error: BitcasaError) -> tuple[int, str]:
    for kind in type(error).__mro__:
        if kind in _WRITTEN:
            return _WRITTEN[kind]
    return (503, "busy") if isinstance(error, Unavailable) else (500, "internal")


def _belongs(kind: type[BitcasaError], status: int, code: object) -> bool:
    return any(row == (kind, status, code) for row in TABLE)


def _by_status(status: int) -> type[BitcasaError]:
    if status in (405, 501):
        return errors.Unsupported
    if status in _BY_STATUS and status != 502:
        return _BY_STATUS[status]
    return errors.Busy if status >= 500 else errors.Malformed


def _applied(status: int, code: object, fields: JsonObject) -> bool | None:
    said = fields.get("applied")
    if isinstance(said, bool):
        return said
    return False if status == 429 or status == 408 or code in _SURELY_NOT_APPLIED else None


def _bounded(seconds: float) -> float:
    # Bounded before it is a float: an integer of JSON may be larger than any.
    return float(min(max(seconds, 0), RETRY_AFTER_LIMIT_SECONDS)) if seconds == seconds else 0.0


def _http_date(value: str) -> float | None:
    try:
        moment: datetime = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
