"""Logging in and out on a real server: what old clients scrape, what nobody may do."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from bitcasafs.dialects.login import parse_login_page
from tests.support.portal_session import connected, log_in
from tests.support.server import PASSWORD, USER, RunningServer, serving


def test_the_form_is_the_same_on_all_pages_that_lead_to_it_and_old_patterns_find_its_fields(
    server: RunningServer,
) -> None:
    with connected(server) as client:
        assert client.get("/").headers["location"] == "/login"
        for path in ("/login", "/login?redirect=/x&interface=mobile&client_id=None", "/logout"):
            page = client.get(path).text
            assert '<form method="POST" action="/login">' in page
            hidden = dict(re.findall(r'^<input type="hidden" name="(\w+)" value="([^"]*)"/>$', page, re.MULTILINE))
            assert re.fullmatch("[0-9a-f]{32}", hidden["csrf_token"])
            assert re.fullmatch("[0-9a-f]{32}", hidden["code"])
            assert hidden["redirect"] == "/"


def test_a_right_password_leads_away_from_login_and_a_wrong_one_ends_there(server: RunningServer) -> None:
    with connected(server) as client:
        wrong = log_in(client, password="wrong")
        assert wrong.status_code == 200
        assert wrong.url.path == "/login"
        assert client.get("/profile").status_code == 401
        assert log_in(client, user="nobody at all").status_code == 200
        right = log_in(client)
        assert right.status_code == 302
        assert right.headers["location"] == "/"
        landed = client.get("/")
        assert landed.status_code == 200
        assert USER in landed.text


def test_a_form_without_csrf_code_and_redirect_is_taken_but_a_wrong_token_is_not(server: RunningServer) -> None:
    fields = {"user": USER, "password": PASSWORD}
    with connected(server) as client:
        client.get("/login")
        foreign = client.post("/login", data={**fields, "csrf_token": "0" * 32})
        assert foreign.status_code == 200
        assert "csrf_token" in foreign.text
        assert client.post("/login", data=fields).status_code == 302


def test_where_the_form_says_to_go_is_never_another_host(server: RunningServer) -> None:
    fields = {"user": USER, "password": PASSWORD}
    with connected(server) as client:
        for target, landed in (("//evil.example/", "/"), ("https://evil.example", "/"), ("/profile", "/profile")):
            answer = client.post("/login", data={**fields, "redirect": target})
            assert answer.headers["location"] == landed


def test_the_session_is_rotated_at_login_and_its_cookie_is_guarded(server: RunningServer) -> None:
    with connected(server) as client:
        client.get("/login")
        before = client.cookies["sessionid"]
        cookie = log_in(client).headers["set-cookie"]
        after = client.cookies["sessionid"]
        assert before != after
        assert re.fullmatch("[0-9a-f]{64}", after)
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Domain" not in cookie
        client.cookies.set("sessionid", before, domain=client.base_url.host)
    with connected(server) as planted:
        assert planted.get("/profile", headers={"Cookie": f"sessionid={before}"}).status_code == 401
        assert planted.get("/profile", headers={"Cookie": f"sessionid={after}"}).status_code == 200


def test_logout_ends_the_session_everywhere(server: RunningServer) -> None:
    with connected(server) as client:
        log_in(client)
        cookie = {"Cookie": f"sessionid={client.cookies['sessionid']}"}
        assert client.get("/profile", headers=cookie).status_code == 200
        client.get("/logout")
    with connected(server) as other:
        assert other.get("/profile", headers=cookie).status_code == 401


def test_a_second_login_ends_the_first_session_of_that_client_and_no_other(server: RunningServer) -> None:
    with connected(server) as client, connected(server) as elsewhere:
        log_in(client)
        log_in(elsewhere)
        first = client.cookies["sessionid"]
        log_in(client)
        assert client.get("/profile").status_code == 200
        assert elsewhere.get("/profile").status_code == 200
        old = elsewhere.build_request("GET", "/profile", headers={"Cookie": f"sessionid={first}"})
        assert elsewhere.send(old).status_code == 401


def test_neither_token_nor_password_is_in_the_data_folder_or_the_log(server: RunningServer) -> None:
    with connected(server) as client:
        log_in(client)
        log_in(client, password="a wrong password that must not be logged")
        token = client.cookies["sessionid"]
    for path in server.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert token.encode() not in content
            assert PASSWORD.encode() not in content
            assert path.stat().st_mode & 0o077 == 0
    for secret in (token, PASSWORD, "a wrong password that must not be logged"):
        assert secret not in server.process.output()


def test_failed_logins_are_throttled_with_the_time_to_wait(tmp_path: Path) -> None:
    with serving(tmp_path) as server, connected(server) as client:
        answers = [log_in(client, password=f"guess {number}") for number in range(8)]
        assert [answer.status_code for answer in answers[:5]] == [200] * 5
        refused = answers[-1]
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert log_in(client).status_code == 429


def test_wrong_passwords_that_come_together_are_counted_as_if_they_came_one_by_one(tmp_path: Path) -> None:
    with serving(tmp_path) as server, ThreadPoolExecutor(50) as threads:
        together = Barrier(50)

        def guess(number: int) -> int:
            with connected(server) as client:
                together.wait(30)
                return client.post("/login", data={"user": USER, "password": f"guess {number}"}).status_code

        statuses = list(threads.map(guess, range(50)))
    # One more is let in for each second that this takes.
    assert 5 <= statuses.count(200) <= 8
    assert statuses.count(200) + statuses.count(429) == 50


def test_right_passwords_that_come_together_are_all_let_in(server: RunningServer) -> None:
    def enter(_: int) -> int:
        with connected(server) as client:
            return log_in(client).status_code

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(enter, range(16))) == {302}


def test_the_historical_setting_keeps_the_id_of_the_login_page(tmp_path: Path) -> None:
    with serving(tmp_path, options=["--keep-session-id"]) as server, connected(server) as client:
        page = client.get("/login")
        captured = page.headers["set-cookie"].partition(";")[0]
        form = parse_login_page(page.text)
        posted = client.post("/login", data={**form.hidden, "user": USER, "password": PASSWORD})
        assert posted.status_code == 302
        with connected(server) as never_looked:
            assert never_looked.get("/profile", headers={"Cookie": captured}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_changes_nothing(server: RunningServer, headers: dict[str, str]) -> None:
    with connected(server) as client:
        log_in(client)
        drive = client.get("/directory/", headers=headers).json()[0]["path"]
        for method, path in (
            ("POST", f"/directory{drive}/forged"),
            ("POST", "/rename/"),
            ("POST", "/delete"),
            ("POST", "/files"),
            ("POST", "/batch"),
            ("POST", "/login"),
            ("GET", "/logout"),
            ("GET", "//logout"),
            ("GET", "/share"),
        ):
            target = str(client.base_url).rstrip("/") + path
            assert client.request(method, target, headers=headers).status_code == 403, path
        assert client.get("/profile").status_code == 200


def test_a_browser_of_our_own_pages_is_not_foreign(server: RunningServer) -> None:
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    with connected(server) as client:
        client.get("/login")
        answer = client.post("/login", data={"user": USER, "password": PASSWORD}, headers=own)
        assert answer.status_code == 302


def test_every_answer_tells_a_browser_to_be_careful(server: RunningServer) -> None:
    with connected(server) as client:
        for path in ("/login", "/profile", "/nothing/here", "/.well-known/bitcasa-portal"):
            headers = client.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
        assert "sandbox" not in client.get("/login").headers["content-security-policy"]
