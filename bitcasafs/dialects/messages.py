"""Requests and responses as plain values, and the names of the headers that only we use.

What is written sans-IO (login) speaks in these; the adapter on either side turns them into its library's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bitcasafs.errors import Malformed
from bitcasafs.values.items import IdempotencyKey

CURSOR = "Cursor"
IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENT_REPLAY = "Idempotent-Replay"
RETRY_AFTER = "Retry-After"
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"

_KEY = re.compile(r"[!-~]{16,64}")
_SLASHES = re.compile(r"/{2,}")


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is the request target: percent-encoded, with its query. The body is not shown: it may hold a password."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """`path` is the path of the request that was answered (no redirects were followed)."""

    status: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


def header(headers: Mapping[str, str], name: str) -> str | None:
    """The value of a header, whatever its case."""
    found = headers.get(name)
    if found is not None:
        return found
    wanted = name.lower()
    return next((value for key, value in headers.items() if key.lower() == wanted), None)


def check_key(raw: str) -> IdempotencyKey:
    """An idempotency key: 16 to 64 visible ASCII characters. Malformed."""
    if _KEY.fullmatch(raw) is None:
        raise Malformed("an idempotency key has 16 to 64 visible ASCII characters")
    return IdempotencyKey(raw)


def collapse_slashes(path: str) -> str:
    """`//login` is `/login`: some clients glue. Before a path is parsed as a URL, or `login` is read as a host."""
    return _SLASHES.sub("/", path)
