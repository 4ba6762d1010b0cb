from __future__ import annotations

import re
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.forms import parse_form
from bitcasafs.dialects.login import (
    Credentials,
    LoginForm,
    encode_login,
    local_path,
    login_flow,
    parse_login,
    parse_login_page,
    render_login_page,
)
from bitcasafs.dialects.messages import Request, Response
from bitcasafs.errors import BitcasaError, Busy, LoginRefused, Malformed, ProtocolError
from tests.support import strategies

TOKEN, CODE = "0123456789abcdef" * 2, "fedcba9876543210" * 2
ORIGIN = "https://portal.example:8443"
PAGE = render_login_page(TOKEN, CODE, "/")


# --- the page, as clients of 2013 read it: line by line ------------------------------------------------------------


def test_the_first_form_has_exactly_the_expected_tag() -> None:
    forms = [line for line in PAGE.splitlines() if "<form" in line]
    assert forms == ['<form method="POST" action="/login">']


@pytest.mark.parametrize(("name", "value"), [("csrf_token", TOKEN), ("code", CODE), ("redirect", "/")])
def test_each_hidden_input_stands_alone_on_its_line(name: str, value: str) -> None:
    lines = [line for line in PAGE.splitlines() if f'name="{name}"' in line]
    assert lines == [f'<input type="hidden" name="{name}" value="{value}"/>']
    # A greedy pattern, as they used it, finds the value and nothing more.
    found = re.findall(rf'name="{name}" value="(.*)"/>', PAGE)
    assert found == [value]
    assert lines[0].count('"/>') == 1 and lines[0].count('">') == 0


def test_a_scraper_that_splits_on_the_words_finds_the_token() -> None:
    line = next(line for line in PAGE.split("\n") if "csrf_token" in line)
    assert line.split('value="')[1].split('"')[0] == TOKEN


def test_visible_inputs_have_ids_equal_to_their_names_and_a_button_submits() -> None:
    form = PAGE.partition("<form")[2].partition("</form>")[0]
    for name in ("user", "password"):
        assert re.search(rf'<input type="\w+" id="{name}" name="{name}"', form)
    assert re.search(r'<button type="submit">', form)
    assert 'type="submit"' not in re.sub("<button[^>]*>", "", form)


@given(st.text(), st.text())
def test_nothing_in_the_page_can_break_out_of_its_line_or_its_quotes(redirect: str, error: str) -> None:
    page = render_login_page(TOKEN, CODE, redirect, error or None)
    line = next(line for line in page.split("\n") if 'name="redirect"' in line)
    assert re.fullmatch(r'<input type="hidden" name="redirect" value="[^"<>]*"/>', line)
    assert page.count("<form") == 1 and page.count("<input") == 5
    form = parse_login_page(page)
    assert form.hidden["csrf_token"] == TOKEN and form.action == "/login"


# --- reading pages ---------------------------------------------------------------------------------------------------


def test_our_own_page_is_read_back() -> None:
    assert parse_login_page(PAGE) == LoginForm("/login", {"csrf_token": TOKEN, "code": CODE, "redirect": "/"})


def test_a_page_of_another_portal_is_read() -> None:
    page = """<form action=/search><input name=q></form>
      <FORM action='/login?x=1&amp;y=2' method=post><input TYPE=hidden name='a' value='1 &amp; 2'>
      <input name=user><input type=password name=password><input type=hidden name=empty>"""
    assert parse_login_page(page) == LoginForm("/login?x=1&y=2", {"a": "1 & 2", "empty": ""})


def test_a_page_without_a_form_is_a_named_error() -> None:
    with pytest.raises(ProtocolError, match="no form"):
        parse_login_page("<html><input type=hidden name=a value=b></html>")


@given(st.text(st.characters()) | st.lists(st.sampled_from(["<form", "<!", "<![", "<input", "'", ">", "&#x", "--"])))
def test_any_page_is_a_form_or_a_named_error(page: str | list[str]) -> None:
    try:
        parse_login_page("".join(page))
    except ProtocolError:
        return


# --- the form --------------------------------------------------------------------------------------------------------


@given(strategies.text, strategies.text)
def test_what_is_typed_in_arrives(user: str, password: str) -> None:
    body = encode_login(parse_login_page(PAGE), user, password)
    assert parse_login(parse_form(body)) == Credentials(user, password, TOKEN, CODE, "/")


def test_clients_that_omit_code_and_redirect_are_understood() -> None:
    found = parse_login([("user", "u"), ("password", "p"), ("csrf_token", TOKEN)])
    assert (found.code, found.redirect) == ("", "/")


@pytest.mark.parametrize("fields", [{}, {"user": "u"}, {"password": "p"}])
def test_a_form_without_user_or_password_is_malformed(fields: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        parse_login(fields)


def test_no_password_shows_in_a_repr() -> None:
    assert "secret" not in repr(Credentials("u", "secret", "secret", "secret"))
    assert "secret" not in repr(Request("POST", "/login", {}, b"secret"))


@pytest.mark.parametrize(
    "value", ["//evil.example", "https://evil.example", "/\\evil", "x", "", "/a\r\nSet-Cookie: b", "/é"]
)
def test_a_redirect_never_leaves_the_portal(value: str) -> None:
    assert local_path(value) == "/"


def test_a_redirect_to_a_path_stays() -> None:
    assert local_path("/a?b=c") == "/a?b=c"


# --- the flow --------------------------------------------------------------------------------------------------------


Answer = tuple[int, dict[str, str], bytes]


def _run(answers: list[Answer], origin: str = ORIGIN) -> tuple[list[Request], str]:
    flow = login_flow("u", "p", origin=origin)
    request, seen = next(flow), []
    for status, headers, body in answers:
        seen.append(request)
        try:
            request = flow.send(Response(status, request.path.partition("?")[0], headers, body))
        except StopIteration as stop:
            return seen, stop.value
    raise AssertionError(f"the flow went on with {request}")


FORM: Answer = (200, {}, PAGE.encode())
HOME: Answer = (200, {}, b"home")


def _to(location: str, status: int = 302) -> Answer:
    return status, {"location": location}, b""


def test_a_login_asks_for_the_page_posts_the_form_and_follows_to_the_end() -> None:
    seen, landed = _run([FORM, _to("/welcome"), _to(f"{ORIGIN}/?x=1", 303), HOME])
    assert [(request.method, request.path) for request in seen] == [
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/welcome"),
        ("GET", "/?x=1"),
    ]
    assert landed == "/"
    fields = dict(parse_qsl(seen[1].body.decode()))
    assert fields == {"user": "u", "password": "p", "csrf_token": TOKEN, "code": CODE, "redirect": "/"}
    assert seen[1].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert not seen[2].body


@pytest.mark.parametrize("end", ["/login", "/login?error=1", "/login//", "/login/again"])
def test_a_chain_that_ends_on_login_is_a_refusal(end: str) -> None:
    with pytest.raises(LoginRefused):
        _run([FORM, _to(end), FORM])


def test_the_form_itself_again_is_a_refusal() -> None:
    with pytest.raises(LoginRefused):
        _run([FORM, FORM])


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/",
        "//evil.example/",
        "http://portal.example:8443/",
        "https://portal.example/",
        "http://[",
        "ftp://portal.example:8443/",
        "https://portal.example:99999/",
        "javascript:x",
        "/a b",
        "/é",
    ],
)
def test_a_redirect_to_another_origin_is_not_followed(location: str) -> None:
    with pytest.raises(ProtocolError):
        _run([FORM, _to(location), HOME])


def test_a_form_that_posts_elsewhere_gets_no_password() -> None:
    page = PAGE.replace('action="/login"', 'action="https://evil.example/login"').encode()
    with pytest.raises(ProtocolError, match="another place"):
        _run([(200, {}, page), HOME])


def test_without_a_known_origin_absolute_redirects_are_refused() -> None:
    with pytest.raises(ProtocolError):
        _run([FORM, _to(f"{ORIGIN}/"), HOME], origin="")


def test_relative_redirects_and_glued_slashes_are_resolved() -> None:
    seen, _ = _run([_to("login?redirect=%2F"), FORM, _to("x"), HOME])
    assert [request.path for request in seen] == ["/login", "/login?redirect=%2F", "/login", "/x"]


def test_307_keeps_the_form() -> None:
    seen, _ = _run([FORM, _to("/again", 307), HOME])
    assert (seen[2].method, seen[2].body) == ("POST", seen[1].body)


def test_at_most_five_redirects_are_followed() -> None:
    _run([FORM, *[_to("/a")] * 5, HOME])
    with pytest.raises(ProtocolError, match="5 redirects"):
        _run([FORM, *[_to("/a")] * 6, HOME])


def test_a_busy_portal_is_not_a_refusal() -> None:
    with pytest.raises(Busy) as caught:
        _run([FORM, (429, {"Retry-After": "4"}, b"")])
    assert caught.value.retry_after_seconds == 4
    with pytest.raises(Busy):
        _run([(503, {}, b"")])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([200, 302, 307, 404, 500]),
            st.dictionaries(st.just("Location"), st.text(max_size=20)),
            st.just(PAGE.encode()) | strategies.hostile_bytes,
        ),
        min_size=14,
        max_size=14,
    )
)
def test_any_answers_end_in_a_login_or_a_named_error(answers: list[Answer]) -> None:
    try:
        _, landed = _run(answers)
    except BitcasaError:
        return
    assert not landed.startswith("/login")
