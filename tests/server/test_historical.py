"""`--historical`: part 1 and not a word of part 2."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bitcasafs.dialects.discovery import decode_discovery
from tests.support.portal_session import Drive
from tests.support.server import serving

PART_ONE = {
    "folder": {"name", "path", "type", "category", "mtime", "mirrored"},
    "file": {
        *("name", "path", "type", "category", "mtime", "mirrored", "id", "size", "mime", "extension"),
        *("manifest_name", "duplicates", "incomplete", "album", "artist"),
    },
}
EXTENSION_HEADERS = ("cursor", "etag", "repr-digest", "idempotent-replay")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    with serving(tmp_path_factory.mktemp("old"), options=["--historical"]) as server, Drive.of(server) as drive:
        yield drive


def test_discovery_finds_a_historical_portal(old: Drive) -> None:
    answer = old.client.get("/.well-known/bitcasa-portal")
    assert answer.status_code == 404
    assert decode_discovery(answer.status_code, answer.headers["content-type"], answer.content) is None


def test_items_have_the_fields_of_part_one_and_answers_no_other_headers(old: Drive) -> None:
    answers = [
        old.client.post(f"/directory{old.at('folder')}"),
        old.try_upload("file.txt", b"content"),
        old.client.get(f"/directory{old.path}"),
        old.client.get("/profile"),
        old.client.get(f"/file/{old.rows()['file.txt']['id']}", headers={"Range": "bytes=0-3"}),
        old.rename("file.txt", "file.txt.old"),
        old.delete("file.txt.old"),
    ]
    for answer in answers:
        assert answer.is_success
        assert not set(EXTENSION_HEADERS) & set(answer.headers)
    assert set(answers[0].json()["items"][0]) == PART_ONE["folder"]
    assert set(answers[1].json()[0]) == PART_ONE["file"]
    assert "used_bytes" not in answers[3].json()
    assert answers[4].content == b"cont"


def test_conditions_and_keys_are_nothing_to_it(old: Drive) -> None:
    key = {"Idempotency-Key": "k" * 32}
    names = [
        old.upload("same.txt", b"1", params={"exists": "overwrite", "if_match": "x"}, headers=key)["name"]
        for _ in range(2)
    ]
    assert names == ["same.txt", "same (1).txt"]
    item = old.rows()["same.txt"]
    assert (
        old.download(item, headers={"If-None-Match": "*", "If-Match": '"x"'}, params={"version": "x"}).content == b"1"
    )


def test_there_are_no_nodes_and_no_batches(old: Drive) -> None:
    assert old.client.post("/batch", content=b"").status_code == 404
    for path in ("/directory/.node/abc", "/directory/.node/abc/def"):
        assert old.client.get(path).status_code == 404
    assert old.client.post("/files", params={"path": "/.node/abc"}, files={"file": ("f", b"")}).status_code == 404


def test_changes_touch_their_folder_as_old_clients_expect(old: Drive) -> None:
    old.make_folder("touched")
    before = old.rows()["touched"]["mtime"]
    old.upload("inside", b"x", "touched")
    assert old.rows()["touched"]["mtime"] > before
