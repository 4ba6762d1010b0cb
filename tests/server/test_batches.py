"""`POST /batch` on a real server: order, atomicity, repeats, and bodies that break off."""

from __future__ import annotations

import hashlib
import socket
import time

import pytest

from bitcasafs.values.items import Address, IdempotencyKey, Version
from bitcasafs.values.operations import Delete, Made, Mkdir, Move, OnExisting, Operation, Put
from tests.support.endpoints import Tcp
from tests.support.portal_session import Drive, batch_body, lines
from tests.support.server import RunningServer


def key(text: str) -> IdempotencyKey:
    return IdempotencyKey(hashlib.sha256(text.encode()).hexdigest())


def test_one_bad_operation_among_a_thousand_stops_only_those_that_name_it(drive: Drive) -> None:
    drive.make_folder("thousand")
    folder = Address(drive.at("thousand"))
    operations: list[tuple[Operation, bytes] | Operation] = []
    for number in range(1000):
        content = f"content {number}".encode()
        operations.append((Put(folder, f"f{number:03}", len(content)), content))
    operations[500] = Mkdir(Address(drive.at("absent")), "x")
    operations[501] = (Put(Made(500), "inside", 1), b"x")
    operations[502] = Delete(Made(501))
    said = drive.batch(*operations)
    assert [line["i"] for line in said] == list(range(1000))
    statuses = [line["status"] for line in said]
    assert statuses[500:503] == [404, 424, 424]
    assert all(status == 201 for number, status in enumerate(statuses) if number not in (500, 501, 502))
    rows = drive.rows("thousand")
    assert len(rows) == 997
    assert drive.download(rows["f999"]).content == b"content 999"


def test_operations_that_cannot_be_read_are_answered_in_their_place(drive: Drive) -> None:
    drive.make_folder("garbled")
    folder = Address(drive.at("garbled"))
    body = (
        batch_body([Mkdir(folder, "one")])
        + b'{"op":"put","parent":{"op":0},"name":"a/b","size":4}\nskip\n'
        + b'{"op":"fly"}\n'
        + batch_body([(Put(Made(0), "two", 3), b"two"), (Put(Made(1), "three", 5), b"three")])
        + batch_body([Move(Made(3), folder, "moved")])
    )
    said = lines(drive.client.post("/batch", content=body))
    assert [line["status"] for line in said] == [201, 422, 400, 201, 424, 200]
    assert set(drive.rows("garbled")) == {"one", "moved"}
    assert drive.download(drive.rows("garbled")["moved"]).content == b"two"


def test_a_body_cut_in_the_middle_changes_nothing_and_leaves_nothing(server: RunningServer, drive: Drive) -> None:
    drive.make_folder("cut")
    folder = Address(drive.at("cut"))
    large = bytes(3_000_000)
    body = batch_body([(Put(folder, "a", 5), b"small"), (Put(folder, "b", len(large)), large), Mkdir(folder, "c")])
    cookie = f"sessionid={drive.client.cookies['sessionid']}"
    assert isinstance(server.endpoint, Tcp)
    for stop in (40, len(body) // 2, len(body) - 3):
        with socket.create_connection((server.endpoint.host, server.endpoint.port)) as wire:
            head = f"POST /batch HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: {len(body)}\r\n\r\n"
            wire.sendall(head.encode() + body[:stop])
    answer = drive.client.post("/batch", content=body[:-20])
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "truncated"
    assert drive.rows("cut") == {}
    incoming = server.data / "content" / "incoming"
    give_up_at = time.monotonic() + 10
    while any(incoming.iterdir()) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert list(incoming.iterdir()) == []


def test_the_same_request_again_gets_the_first_answer_and_changes_nothing(drive: Drive) -> None:
    drive.make_folder("again")
    folder = Address(drive.at("again"))
    operations = (
        Mkdir(folder, "made", key=key("made")),
        (Put(Made(0), "file", 4, key=key("file")), b"body"),
        Move(Made(1), folder, "moved", key=key("moved")),
    )
    first = drive.batch(*operations)
    again = drive.batch(*operations)
    assert [line["status"] for line in again] == [line["status"] for line in first]
    assert [line["item"] for line in again] == [line["item"] for line in first]
    assert all(line["replay"] for line in again)
    assert not any(line.get("replay") for line in first)
    assert set(drive.rows("again")) == {"made", "moved"}


def test_the_same_key_with_another_body_is_refused(drive: Drive) -> None:
    folder = Address(drive.path)
    taken = key("taken")
    assert drive.batch((Put(folder, "keyed", 3, key=taken), b"one"))[0]["status"] == 201
    (other_content,) = drive.batch((Put(folder, "keyed", 3, key=taken), b"two"))
    (other_name,) = drive.batch((Put(folder, "other", 3, key=taken), b"one"))
    assert [other_content["status"], other_name["status"]] == [422, 422]
    assert other_content["error"]["code"] == "key_reused"
    assert drive.download(drive.rows()["keyed"]).content == b"one"
    assert "other" not in drive.rows()


def test_failures_are_not_kept_for_repeats(drive: Drive) -> None:
    missing = Mkdir(Address(drive.at("later")), "inside", key=key("later"))
    assert drive.batch(missing)[0]["status"] == 404
    drive.make_folder("later")
    assert drive.batch(missing)[0]["status"] == 201


def test_an_overwrite_keeps_the_node_and_holds_to_its_condition(drive: Drive) -> None:
    folder = Address(drive.path)
    (first,) = drive.batch((Put(folder, "guarded", 3), b"one"))
    item = first["item"]
    over = Put(folder, "guarded", 3, OnExisting.OVERWRITE, Version(item["version"]))
    (second,) = drive.batch((over, b"two"))
    assert second["status"] == 200
    assert second["item"]["node"] == item["node"]
    assert second["item"]["version"] != item["version"]
    (late,) = drive.batch((over, b"six"))
    assert late["status"] == 412
    assert late["item"]["version"] == second["item"]["version"]
    old = drive.client.get(f"/file/{second['item']['id']}", params={"version": item["version"]})
    assert old.content == b"one"


def test_content_that_does_not_have_its_md5_is_refused_alone(drive: Drive) -> None:
    folder = Address(drive.path)
    good = hashlib.md5(b"good").hexdigest()
    said = drive.batch(
        (Put(folder, "flipped", 4, md5=good), b"goof"),
        (Put(folder, "whole", 4, md5=good), b"good"),
    )
    assert [line["status"] for line in said] == [460, 201]
    assert "flipped" not in drive.rows()


def test_content_of_refused_operations_is_not_kept(server: RunningServer, drive: Drive) -> None:
    content = b"wanted by nobody" * 1000
    (refused,) = drive.batch((Put(Address(drive.at("no such folder")), "x", len(content)), content))
    assert refused["status"] == 404
    name = hashlib.sha256(content).hexdigest()
    assert not (server.data / "content" / name[:2] / name[2:]).exists()
    again = drive.try_upload("x.txt", content, params={"exists": "fail", "md5": "0" * 32})
    assert again.status_code == 460
    assert not (server.data / "content" / name[:2] / name[2:]).exists()


def test_large_contents_pass_through_a_batch(drive: Drive) -> None:
    content = bytes(range(256)) * 40_000
    said = drive.batch((Put(Address(drive.path), "large", len(content)), content), Mkdir(Address(drive.path), "after"))
    assert [line["status"] for line in said] == [201, 201]
    assert said[0]["item"]["digests"]["md5"] == hashlib.md5(content).hexdigest()
    assert drive.download(said[0]["item"]).content == content


@pytest.mark.parametrize("body", [b"", b"\n", b"nonsense\n", b'{"op":"mkdir"', b"[]\n", b"{}" * 100_000])
def test_bodies_that_are_no_batch_are_answered_and_change_nothing(drive: Drive, body: bytes) -> None:
    before = drive.rows()
    answer = drive.client.post("/batch", content=body)
    assert answer.status_code in (200, 400, 413)
    if answer.status_code == 200:
        assert all(line["status"] >= 400 for line in lines(answer))
    assert drive.rows() == before
