"""The session's cookie (portal protocol 1.2)."""

from __future__ import annotations

import re

SESSION = "sessionid"
_PSEUDO = frozenset({"domain", "path", "expires", "httponly", "secure", "samesite", "max-age", "version", "comment"})
"""Attributes of Set-Cookie that clients send back as if they were cookies."""
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_LIMIT = 64


def parse_cookie(header: str) -> dict[str, str]:
    """The cookies of a Cookie header, or of a whole Set-Cookie value that came back. Never raises.

    Pseudo-cookies are left out; the first of several with one name counts; quotes around a value go.
    """
    found: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not name or not equals or name.lower() in _PSEUDO or len(found) >= _LIMIT:
            continue
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        found.setdefault(name, value)
    return found


def session_cookie(value: str, *, secure: bool) -> str:
    """The value of Set-Cookie. No Domain (the cookie is this host's alone); Lax, since part-1 forms carry no token.

    `value` is a session id of our own making, so anything outside of a cookie's alphabet is a programming error.
    """
    assert _VALUE.fullmatch(value), "a session id is made of characters that a cookie can hold"
    return f"{SESSION}={value}; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")


def expired_session_cookie(*, secure: bool) -> str:
    """The value of Set-Cookie that makes a client forget its session."""
    return f"{session_cookie('', secure=secure)}; Max-Age=0"
