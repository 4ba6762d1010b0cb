from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.fields import json_bytes, parse_json
from bitcasafs.dialects.items import category_of, decode_item, encode_item, extension_of, mime_of
from bitcasafs.errors import ProtocolError
from bitcasafs.values.items import Attributes, Item, Kind, NodeId
from tests.support import strategies

PART_1 = {
    "all": {"category", "name", "path", "type", "mtime", "mirrored"},
    "file": {"id", "size", "mime", "extension", "manifest_name", "duplicates", "incomplete", "album", "artist"},
    "root": {"mount_point", "deleted", "origin_device", "origin_device_id", "sync_type"},
}
ROW = {"name": "a", "path": "/x/a", "type": 0, "size": 3}


@given(strategies.items())
def test_an_item_survives_the_wire(item: Item) -> None:
    assert decode_item(parse_json(json_bytes(encode_item(item, extensions=True)), "x")) == item


@given(strategies.items(extensions=False))
def test_a_historical_item_survives_and_has_exactly_the_fields_of_part_1(item: Item) -> None:
    fields = encode_item(item, extensions=False)
    expected = PART_1["all"] | (set() if item.is_folder else PART_1["file"])
    assert set(fields) == expected | (PART_1["root"] if item.root else set())
    assert decode_item(fields) == item


@given(strategies.items())
def test_without_extensions_no_field_of_theirs_is_sent(item: Item) -> None:
    assert set(encode_item(item, extensions=False)) <= PART_1["all"] | PART_1["file"] | PART_1["root"]


def test_links_and_special_files_are_empty_files_to_old_clients() -> None:
    link = Item("l", "/x/l", Kind.SYMLINK, id="i", attributes=Attributes(symlink="../t"), node=NodeId("n"), revision=1)
    fields = encode_item(link, extensions=True)
    assert (fields["type"], fields["size"], fields["attributes"]) == (0, 0, {"symlink": "../t"})
    assert decode_item(ROW | {"attributes": {"special": "fifo"}}).kind is Kind.FIFO


def test_mime_and_extension_are_never_null_and_are_guessed_when_absent() -> None:
    item = decode_item(ROW | {"name": "photo.JPG", "mime": None})
    assert (item.mime, item.extension) == ("image/jpeg", "jpg")


def test_unknown_fields_are_ignored() -> None:
    assert decode_item(ROW | {"novel": {"a": [1]}}) == decode_item(ROW)


def test_the_path_has_no_doubled_or_trailing_slash() -> None:
    assert decode_item(ROW | {"path": "//x//a/"}).path == "/x/a"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": None}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"path": "x"}, "path"),
        ({"path": "//"}, "path"),
        ({"type": 2}, "type"),
        ({"type": True}, "type"),
        ({"size": -1}, "size"),
        ({"size": None}, "size"),
        ({"size": "3"}, "size"),
        ({"mirrored": 1}, "mirrored"),
        ({"mtime": "now"}, "mtime"),
        ({"node": "n" * 65}, "node"),
        ({"node": "a/b"}, "node"),
        ({"digests": {"md5": 5}}, "digests"),
        ({"attributes": {"mode": 0o10000}}, "mode"),
        ({"attributes": {"uid": -1}}, "uid"),
        ({"attributes": {"mtime_ns": 2**63}}, "mtime_ns"),
        ({"attributes": {"symlink": ""}}, "symlink"),
        ({"attributes": {"special": "block"}}, "special"),
        ({"attributes": {"xattrs": {"user.a": "no base64!"}}}, "user.a"),
        ({"sync_type": "other"}, "sync_type"),
    ],
)
def test_a_field_that_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ProtocolError, match=field):
        decode_item(ROW | change)


@given(
    strategies.json_objects(
        *("name", "path", "type", "size", "mtime", "mirrored", "node", "digests", "attributes", "sync_type", "id")
    )
)
def test_any_object_is_an_item_or_a_named_error(fields: dict[str, Any]) -> None:
    for row in (fields, ROW | fields, ROW | {"attributes": fields}):
        try:
            decode_item(row)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("a.jpg", "photos"),
        ("a.HEIC", "photos"),
        ("a.mp3", "music"),
        ("a.mkv", "videos"),
        ("a.pdf", "documents"),
        ("a.docx", "documents"),
        ("a.txt", "documents"),
        ("a.bin", "other"),
        ("a", "other"),
        ("data:text/html,x", "other"),
    ],
)
def test_the_category_follows_from_the_name(name: str, category: str) -> None:
    assert category_of(name) == category


@given(st.text(st.characters()))
def test_any_name_has_a_type(name: str) -> None:
    assert "/" in mime_of(name)
    assert not extension_of(name).startswith(".")


def test_xattrs_travel_as_base64() -> None:
    item = Item("a", "/x/a", Kind.FILE, id="i", attributes=Attributes(xattrs={"user.a": b"\0\xff"}))
    fields = encode_item(item, extensions=True)
    assert fields["attributes"]["xattrs"] == {"user.a": base64.b64encode(b"\0\xff").decode()}
