"""Clients of 2013 as protocol part 1 describes them, byte for byte over a socket, on a real server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.endpoints import Tcp
from tests.support.portal_session import Drive
from tests.support.server import PASSWORD, USER, RunningServer


@dataclass
class Answer:
    status: int
    head: str
    body: bytes


class Wire:
    """A connection that sends what it is told and reads one answer by its Content-Length."""

    def __init__(self, server: RunningServer) -> None:
        assert isinstance(server.endpoint, Tcp)
        self.socket = socket.create_connection((server.endpoint.host, server.endpoint.port), timeout=10)
        self._file = self.socket.makefile("rb")

    def ask(self, request: bytes) -> Answer:
        self.socket.sendall(request)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            assert line, f"closed after {head!r}"
            head += line
        text = head.decode("latin-1")
        length = re.search(r"content-length: (\d+)", text, re.IGNORECASE)
        body = self._file.read(int(length[1])) if length else b""
        return Answer(int(text.split()[1]), text, body)

    def at_end(self) -> bool:
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def wire(server: RunningServer) -> Iterator[Wire]:
    opened = Wire(server)
    yield opened
    opened.close()


@pytest.fixture
def cookie(drive: Drive) -> bytes:
    return f"Cookie: sessionid={drive.client.cookies['sessionid']}\r\n".encode()


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    head = b"".join(headers)
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode() + head + b"\r\n" + body


def test_doubled_slashes_are_one_before_the_url_is_parsed(wire: Wire, drive: Drive, cookie: bytes) -> None:
    form = f"user={USER}&password={PASSWORD.replace(' ', '+')}".encode()
    assert wire.ask(post("//login", form)).status == 302
    listed = wire.ask(f"GET //directory//{drive.path.strip('/')}// HTTP/1.1\r\nHost: x\r\n".encode() + cookie + b"\r\n")
    assert listed.status == 200
    assert isinstance(json.loads(listed.body), list)


def test_forms_without_a_content_type_are_understood(wire: Wire, drive: Drive, cookie: bytes) -> None:
    drive.make_folder("untyped")
    selection = json.dumps({"paths": [drive.at("untyped")]}).replace('"', "%22").encode()
    answer = wire.ask(post("/delete", b"selection=" + selection, cookie))
    assert (answer.status, answer.body) == (200, b"OK")
    assert "untyped" not in drive.rows()


def test_a_get_with_the_content_length_of_the_post_before_is_not_waited_for(wire: Wire, cookie: bytes) -> None:
    answer = wire.ask(b"GET /profile HTTP/1.1\r\nHost: x\r\nContent-Length: 77\r\n" + cookie + b"\r\n")
    assert answer.status == 200
    assert "connection: close" in answer.head.lower()
    assert json.loads(answer.body)["storage_used"] >= 0
    assert wire.at_end()


def test_the_same_get_of_a_file_and_of_a_listing_comes_whole(
    server: RunningServer, drive: Drive, cookie: bytes
) -> None:
    item = drive.upload("stale.bin", bytes(600_000))
    for path in (f"/file/{item['id']}", f"/directory{drive.path}"):
        wire = Wire(server)
        answer = wire.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n".encode() + cookie + b"\r\n")
        assert answer.status == 200
        assert len(answer.body) > 100
        assert wire.at_end()
        wire.close()


def test_a_whole_set_cookie_value_sent_back_is_a_session(wire: Wire, drive: Drive) -> None:
    token = drive.client.cookies["sessionid"]
    for value in (
        f"sessionid={token}; Domain=.my.bitcasa.com; Path=/",
        f"Path=/; HttpOnly; sessionid={token}; SameSite=Lax; Max-Age=5; Expires=Thu, 01 Jan 2099 00:00:00 GMT; Secure",
        f'other=1; sessionid="{token}"',
    ):
        answer = wire.ask(f"GET /profile HTTP/1.1\r\nHost: x\r\nCookie: {value}\r\n\r\n".encode())
        assert answer.status == 200, value


def test_an_upload_with_a_raw_utf8_name_no_part_type_and_a_stray_token_is_stored(
    wire: Wire, drive: Drive, cookie: bytes
) -> None:
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="'
        + "grüße ☃.txt".encode()
        + b'"\r\n\r\nhello\r\n--xyz--\r\n'
    )
    path = f"/files?path={drive.path}&access_token=undefined"
    answer = wire.ask(post(path, body, cookie, b"Content-Type: multipart/form-data; boundary=xyz\r\n"))
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)[0]["name"] == "grüße ☃.txt"
    assert drive.download(drive.rows()["grüße ☃.txt"]).content == b"hello"


def test_names_with_every_allowed_character_go_in_and_out(drive: Drive) -> None:
    drive.make_folder("odd")
    for name in ("line\nfeed", "per%cent %41", "a?b#c", 'quote"back\\slash', " ", "\x01\x7f", "é" * 127, "..."):
        drive.make_folder(f"odd/{name}")
        item = drive.upload("content.txt", name.encode(), f"odd/{name}")
        assert drive.rows("odd")[name]["type"] == 1
        assert drive.rows(f"odd/{name}")["content.txt"]["id"] == item["id"]


def test_a_path_that_is_not_utf8_is_refused_and_never_guessed(wire: Wire, drive: Drive, cookie: bytes) -> None:
    answer = wire.ask(f"POST /directory{drive.path}/%FF%FE HTTP/1.1\r\nHost: x\r\n".encode() + cookie + b"\r\n")
    assert answer.status == 422


def test_endless_headers_are_cut_off(wire: Wire) -> None:
    wire.socket.sendall(b"GET /login HTTP/1.1\r\nHost: x\r\nX-Long: ")
    try:
        for _ in range(64):
            wire.socket.sendall(b"a" * 65_536)
        answer = wire.socket.recv(65_536)
    except (BrokenPipeError, ConnectionResetError):
        return
    assert answer.startswith(b"HTTP/1.1 400")


def test_an_upload_without_a_session_is_refused_before_its_body(wire: Wire) -> None:
    wire.socket.sendall(
        b"POST /files?path=/x HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 1000000000\r\n\r\n--b\r\n"
    )
    answer = wire.ask(b"")
    assert answer.status == 401
    assert "connection: close" in answer.head.lower()


def test_a_client_that_sends_its_whole_upload_first_still_reads_the_refusal(wire: Wire) -> None:
    answer = wire.ask(post("/files?path=/x", bytes(8_000_000)))
    assert answer.status == 401


def test_an_upload_that_waits_for_continue_hears_the_refusal_instead(wire: Wire, cookie: bytes) -> None:
    answer = wire.ask(
        b"POST /files?path=/" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n"
        b"Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=b\r\n" + cookie + b"\r\n"
    )
    assert answer.status == 404
