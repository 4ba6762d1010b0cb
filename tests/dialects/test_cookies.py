from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.cookies import expired_session_cookie, parse_cookie, session_cookie

session_ids = st.text(string.ascii_letters + string.digits + "-_", min_size=1)


@given(session_ids, st.booleans())
def test_a_whole_set_cookie_value_sent_back_is_the_session(value: str, secure: bool) -> None:
    assert parse_cookie(session_cookie(value, secure=secure)) == {"sessionid": value}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("sessionid=a; Domain=.my.bitcasa.com; Path=/", {"sessionid": "a"}),
        ("sessionid=a;Path=/;EXPIRES=x; HttpOnly; Max-Age=1; samesite=Lax; Secure", {"sessionid": "a"}),
        ('other="b c"; sessionid=a', {"other": "b c", "sessionid": "a"}),
        ("sessionid=a; sessionid=b", {"sessionid": "a"}),
        (" ; =x; novalue; ;", {}),
        ("", {}),
        ("a==b=", {"a": "=b="}),
    ],
)
def test_pseudo_cookies_are_left_out(header: str, expected: dict[str, str]) -> None:
    assert parse_cookie(header) == expected


@given(st.text(st.characters()))
def test_any_header_is_read(header: str) -> None:
    assert all(name and name.lower() not in ("domain", "path") for name in parse_cookie(header))


def test_the_cookie_is_this_hosts_alone_and_hidden_from_scripts() -> None:
    assert session_cookie("v", secure=False) == "sessionid=v; Path=/; HttpOnly; SameSite=Lax"
    assert session_cookie("v", secure=True).endswith("; Secure")
    assert expired_session_cookie(secure=False) == "sessionid=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"


@pytest.mark.parametrize("value", ["a;b", "a b", "a\r\nX: y", 'a"', "é"])
def test_nothing_can_be_smuggled_into_the_header(value: str) -> None:
    with pytest.raises(AssertionError):
        session_cookie(value, secure=False)
