"""Uploads and downloads on a real server: names, conditions, ranges, versions, repeats."""

from __future__ import annotations

import base64
import hashlib

import pytest

from bitcasafs.dialects.ranges import decode_etag, decode_repr_digest
from tests.support.portal_session import Drive

KEY = {"Idempotency-Key": "upload-" + "k" * 20}


def test_an_existing_name_is_kept_and_the_newcomer_gets_a_number(drive: Drive) -> None:
    drive.make_folder("numbers")
    names = [drive.upload("a.txt", content, "numbers")["name"] for content in (b"1", b"2", b"3")]
    assert names == ["a.txt", "a (1).txt", "a (2).txt"]
    assert drive.download(drive.rows("numbers")["a.txt"]).content == b"1"


def test_an_empty_file_is_a_file(drive: Drive) -> None:
    item = drive.upload("empty", b"")
    assert (item["size"], item["type"]) == (0, 0)
    answer = drive.download(item)
    assert (answer.status_code, answer.content) == (200, b"")
    assert drive.download(item, headers={"Range": "bytes=0-"}).status_code == 416


def test_exists_and_conditions_guard_an_upload(drive: Drive) -> None:
    first = drive.upload("guard", b"one")
    assert drive.try_upload("guard", b"two", params={"exists": "fail"}).status_code == 409
    over = {"exists": "overwrite"}
    second = drive.upload("guard", b"two", params=over, headers={"If-Match": f'"{first["version"]}"'})
    assert second["node"] == first["node"]
    late = drive.try_upload("guard", b"six", params={**over, "if_match": first["version"]})
    assert late.status_code == 412
    assert late.json()["error"]["code"] == "version_mismatch"
    assert drive.try_upload("guard", b"?", params={"exists": "perhaps"}).status_code == 400
    assert drive.download(drive.rows()["guard"]).content == b"two"


def test_an_upload_repeated_with_its_key_is_one_file_and_with_other_bytes_refused(drive: Drive) -> None:
    first = drive.try_upload("once.txt", b"bytes", headers=KEY)
    again = drive.try_upload("once.txt", b"bytes", headers=KEY)
    assert again.json() == first.json()
    assert again.headers["idempotent-replay"] == "true"
    assert "idempotent-replay" not in first.headers
    assert drive.try_upload("once.txt", b"other", headers=KEY).status_code == 422
    assert "once (1).txt" not in drive.rows()


def test_folder_rename_and_delete_take_keys_too(drive: Drive) -> None:
    keys = [{"Idempotency-Key": f"{name}-{'k' * 20}"} for name in ("mkdir", "move", "remove")]
    made = [drive.client.post(f"/directory{drive.at('keyed folder')}", headers=keys[0]) for _ in range(2)]
    assert made[0].json() == made[1].json()
    assert made[1].headers["idempotent-replay"] == "true"
    move = {"from": drive.at("keyed folder"), "to": drive.at("moved folder")}
    moved = [drive.client.post("/rename/", data=move, headers=keys[1]) for _ in range(2)]
    assert [answer.text for answer in moved] == ["OK", "OK"]
    selection = {"selection": '{"paths": ["' + drive.at("moved folder") + '"]}'}
    gone = [drive.client.post("/delete", data=selection, headers=keys[2]) for _ in range(2)]
    assert [answer.text for answer in gone] == ["OK", "OK"]
    assert drive.client.post("/delete", data=selection).status_code == 404


def test_a_new_folder_takes_conditions_in_query_or_form(drive: Drive) -> None:
    path = f"/directory{drive.at('conditional')}"
    assert drive.client.post(path, content=b'{"some": "body"}').json()["status"] == "created"
    assert drive.client.post(path).json()["status"] == "existing"
    assert drive.client.post(path, params={"exists": "fail"}).status_code == 409
    assert drive.client.post(path, data={"exists": "fail"}).status_code == 409
    assert drive.client.post(path, data={"exists": "overwrite"}).status_code == 400
    drive.upload("in the way", b"x")
    assert drive.client.post(f"/directory{drive.at('in the way')}").status_code == 409


def test_uploads_that_cannot_be_are_refused(drive: Drive) -> None:
    item = drive.upload("file", b"x")
    assert drive.try_upload("x", b"x", "no such folder").status_code == 404
    assert drive.try_upload("x", b"x", "file").status_code == 409
    assert drive.try_upload("a/b", b"x").status_code == 422
    assert drive.try_upload("x" * 256, b"x").status_code == 422
    assert drive.client.post("/files", files={"file": ("x", b"x")}).status_code == 400
    assert drive.client.post("/files", params={"path": drive.path}, content=b"").status_code == 400
    plain = drive.client.post("/files", params={"path": drive.path}, data={"file": "x"})
    assert plain.status_code == 400
    assert drive.rows()["file"]["id"] == item["id"]


def test_everything_is_reached_by_node_too(drive: Drive) -> None:
    folder = drive.make_folder("by node")
    item = drive.client.post(
        "/files", params={"path": f"/.node/{folder['node']}"}, files={"file": ("f", b"content")}
    ).json()[0]
    assert item["path"] == drive.at("by node/f")
    listed = drive.client.get(f"/directory/.node/{folder['node']}").json()
    assert [row["node"] for row in listed] == [item["node"]]
    assert drive.client.post(f"/directory/.node/{folder['node']}/inner").json()["status"] == "created"
    move = {"from": f"/.node/{item['node']}", "to": f"/.node/{folder['node']}/g"}
    assert drive.client.post("/rename/", data=move).text == "OK"
    assert set(drive.rows("by node")) == {"g", "inner"}
    delete = {"selection": '{"paths": ["/.node/' + folder["node"] + '/g"]}'}
    assert drive.client.post("/delete", data=delete).text == "OK"
    assert set(drive.rows("by node")) == {"inner"}


@pytest.mark.parametrize("size", [1000, 700_000])
def test_ranges_are_exact(drive: Drive, size: int) -> None:
    content = hashlib.shake_128(b"range").digest(size)
    item = drive.upload(f"range{size}", content)
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=7-", 7, size),
        (f"bytes=5-{size * 2}", 5, size),
        ("bytes=-10", size - 10, size),
        (f"bytes=0-{size - 1}", 0, size),
    ):
        answer = drive.download(item, headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.content == content[start:stop]
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    past = drive.download(item, headers={"Range": f"bytes={size}-"})
    assert past.status_code == 416
    assert past.headers["content-range"] == f"bytes */{size}"
    assert drive.download(item, headers={"Range": "bytes=0-1,5-6"}).content == content


def test_a_download_says_what_it_is_and_holds_to_conditions(drive: Drive) -> None:
    content = b"conditions" * 100
    item = drive.upload("c.html", content)
    whole = drive.client.get(f"/file/{item['id']}/download/c.html")
    assert decode_etag(whole.headers["etag"]) == item["version"]
    assert decode_repr_digest(whole.headers["repr-digest"]) == {
        "md5": hashlib.md5(content).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    # What somebody stored must never run as a page of ours.
    assert whole.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in whole.headers["content-security-policy"]
    tag = whole.headers["etag"]
    assert drive.download(item, headers={"If-None-Match": tag}).status_code == 304
    assert drive.download(item, headers={"If-Match": '"other"'}).status_code == 412
    assert drive.download(item, headers={"If-Match": tag, "Range": "bytes=1-2"}).content == b"on"
    stale = drive.download(item, headers={"If-Range": '"other"', "Range": "bytes=1-2"})
    assert (stale.status_code, stale.content) == (200, content)


def test_head_is_a_get_without_its_body(drive: Drive) -> None:
    item = drive.upload("headed", bytes(600_000))
    for path in (f"/file/{item['id']}", f"/directory{drive.path}", "/profile", "/login"):
        answer = drive.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    head = drive.client.head(f"/file/{item['id']}", headers={"Range": "bytes=0-99"})
    assert (head.status_code, head.headers["content-length"]) == (206, "100")


def test_replaced_and_deleted_content_stays_by_version(drive: Drive) -> None:
    first = drive.upload("kept", b"first")
    second = drive.upload("kept", b"second", params={"exists": "overwrite"})
    assert drive.download(second, params={"version": first["version"]}).content == b"first"
    assert drive.client.get(f"/file/{first['id']}").content == b"first"
    drive.delete("kept")
    assert drive.client.get(f"/file/{second['id']}").content == b"second"
    invented = base64.urlsafe_b64encode(bytes(64)).decode()
    assert drive.client.get(f"/file/{invented}").status_code == 404
    assert drive.client.get("/file/short").status_code == 404


def test_the_profile_counts_exactly(drive: Drive) -> None:
    before = drive.client.get("/profile").json()
    drive.upload("counted", bytes(12_345))
    after = drive.client.get("/profile").json()
    assert after["used_bytes"] - before["used_bytes"] == 12_345
    assert after["files"] - before["files"] == 1
    assert after["storage_used"] == after["used_bytes"]


def test_answers_with_items_carry_a_cursor_that_moves_with_changes_alone(drive: Drive) -> None:
    answers = [
        drive.client.get("/directory/"),
        drive.client.post(f"/directory{drive.at('cursor')}"),
        drive.try_upload("cursor.txt", b"x"),
        drive.client.get(f"/directory{drive.path}"),
    ]
    assert all(answer.headers["cursor"] for answer in answers)
    assert len({answer.headers["cursor"] for answer in answers}) > 1
    again = drive.client.get(f"/directory{drive.path}")
    assert again.headers["cursor"] == answers[3].headers["cursor"]


def test_wrong_methods_are_told_the_right_ones(drive: Drive) -> None:
    answer = drive.client.put("/profile")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert drive.client.get("/rename/").status_code == 405
    assert drive.client.get("/nowhere").status_code == 404


def test_a_deletion_of_several_goes_on_after_one_that_fails(drive: Drive) -> None:
    drive.upload("one", b"1")
    drive.upload("two", b"2")
    assert drive.delete("one", "absent", "two").status_code == 404
    assert not {"one", "two"} & set(drive.rows())
