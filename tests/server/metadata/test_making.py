"""mkdir, put and symlink: names come into being, contents are replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitcasafs.errors import (
    ChecksumMismatch,
    Exists,
    IsFolder,
    Malformed,
    NameInvalid,
    NotFolder,
    NotFound,
    QuotaExceeded,
    VersionMismatch,
)
from bitcasafs.values.items import AttributeChange, Kind, Version
from bitcasafs.values.operations import Made, Mkdir, OnExisting, Put
from tests.support.metadata import START_NS, HandClock, Scene, mode, open_scene


def test_a_put_file_is_found_listed_and_read(scene: Scene) -> None:
    item = scene.put("hello.txt", b"hello")
    assert (item.name, item.size_bytes, item.mime, item.extension) == ("hello.txt", 5, "text/plain", "txt")
    assert item.path == f"{scene.root.path}/hello.txt"
    assert item.digests == {"md5": "5d41402abc4b2a76b9719d911017c592"}
    assert (item.kind, item.category, item.revision, item.nlink) == (Kind.FILE, "documents", 1, 1)
    assert scene.items() == [item]
    assert scene.find("hello.txt") == item
    assert scene.read("hello.txt") == b"hello"


def test_a_new_file_says_201_and_a_new_content_200(scene: Scene) -> None:
    assert scene.do(Put(scene.root, "a", 1), b"1").status == 201
    assert scene.do(Put(scene.root, "a", 1, OnExisting.OVERWRITE), b"2").status == 200


def test_the_id_is_64_bytes_of_base64url(scene: Scene) -> None:
    file_id = scene.put("a").id
    assert file_id is not None
    assert len(file_id) == 88
    assert file_id.endswith("==")


def test_an_empty_file_has_content_too(scene: Scene) -> None:
    assert scene.put("empty", b"").version is not None
    assert scene.read("empty") == b""


def test_a_taken_name_is_refused_and_shown(scene: Scene) -> None:
    first = scene.put("a", b"first")
    applied = scene.apply((Put(scene.root, "a", 3), b"new"))[0]
    assert isinstance(applied.error, Exists)
    assert applied.current == first
    assert scene.read("a") == b"first"


def test_overwriting_keeps_the_node_and_changes_version_and_revision(scene: Scene) -> None:
    first = scene.put("a", b"first")
    second = scene.overwrite("a", b"second")
    assert second.node == first.node
    assert second.version != first.version
    assert (first.revision, second.revision) == (1, 2)
    assert scene.read("a") == b"second"


def test_the_old_id_means_the_old_content(scene: Scene) -> None:
    first = scene.put("a", b"first")
    second = scene.overwrite("a", b"second")
    assert first.id is not None
    assert second.id is not None
    assert scene.fetch(first.id) == b"first"
    assert scene.fetch(second.id, first.version) == b"first"
    assert scene.metadata.content(scene.user, first.id).name is None
    assert scene.metadata.content(scene.user, second.id).name == "a"


def test_overwriting_under_a_condition_needs_that_version(scene: Scene) -> None:
    first = scene.put("a", b"first")
    second = scene.overwrite("a", b"second", if_match=first.version)
    applied = scene.apply((Put(scene.root, "a", 5, OnExisting.OVERWRITE, first.version), b"third"))[0]
    assert isinstance(applied.error, VersionMismatch)
    assert applied.current == second
    assert scene.read("a") == b"second"


def test_a_condition_on_a_name_that_is_gone_does_not_hold(scene: Scene) -> None:
    with pytest.raises(VersionMismatch):
        scene.overwrite("a", b"x", if_match=Version("A" * 22))


def test_a_file_does_not_replace_a_folder(scene: Scene) -> None:
    folder = scene.mkdir("a")
    applied = scene.apply((Put(scene.root, "a", 1, OnExisting.OVERWRITE), b"x"))[0]
    assert isinstance(applied.error, IsFolder)
    assert applied.current == folder


def test_rename_takes_the_first_free_number(scene: Scene) -> None:
    scene.put("a.txt")
    scene.put("a (2).txt")
    for expected in ("a (1).txt", "a (3).txt", "a (4).txt"):
        assert scene.put("a.txt", exists=OnExisting.RENAME).name == expected


def test_rename_finds_a_number_among_many(scene: Scene) -> None:
    for _ in range(25):
        scene.put("a", exists=OnExisting.RENAME)
    assert "a (24)" in scene.names()
    assert len(scene.names()) == 25


def test_new_content_without_attributes_keeps_them_and_sets_mtime_to_now(scene: Scene) -> None:
    scene.put("a", attributes=AttributeChange({"mode": 0o600, "mtime_ns": 5_000_000}, xattrs={"user.x": b"1"}))
    before = scene.clock.now_ns
    item = scene.overwrite("a", b"new")
    assert item.attributes.mode == 0o600
    assert item.attributes.xattrs == {"user.x": b"1"}
    assert item.attributes.mtime_ns is not None
    assert item.attributes.mtime_ns > before
    assert item.mtime_ms == item.attributes.mtime_ns // 1_000_000


def test_attributes_given_with_new_content_are_merged(scene: Scene) -> None:
    scene.put("a", attributes=mode(0o600, uid=7))
    attributes = scene.overwrite("a", b"new", attributes=mode(0o644, mtime_ns=-1)).attributes
    assert (attributes.mode, attributes.uid, attributes.mtime_ns) == (0o644, 7, -1)


def test_negative_times_are_floored_to_milliseconds(scene: Scene) -> None:
    assert scene.put("a", attributes=AttributeChange({"mtime_ns": -1})).mtime_ms == -1


def test_content_with_another_md5_is_refused(scene: Scene) -> None:
    with pytest.raises(ChecksumMismatch):
        scene.put("a", b"data", md5="0" * 32)
    assert scene.names() == []


def test_a_put_into_what_is_no_folder_is_refused(scene: Scene) -> None:
    scene.put("file")
    with pytest.raises(NotFolder):
        scene.put("file/below")
    with pytest.raises(NotFound):
        scene.put("absent/below")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "é" * 128])
def test_a_name_that_the_drive_cannot_hold_is_refused(scene: Scene, name: str) -> None:
    with pytest.raises(NameInvalid):
        scene.do(Put(scene.root, name, 1), b"x")


@pytest.mark.parametrize("name", ["ü" * 127, "tab\tand\nline", "A", "a", "e\u0301", "é", " ", "%2f", ".node"])
def test_names_are_kept_byte_for_byte(scene: Scene, name: str) -> None:
    assert scene.do(Put(scene.root, name, 1), b"x").item == scene.items()[0]
    assert scene.names() == [name]


def test_names_that_differ_in_case_or_normal_form_are_different(scene: Scene) -> None:
    names = ["A", "a", "e\u0301", "é"]
    for name in names:
        scene.put(name)
    assert scene.names() == sorted(names, key=lambda name: name.encode())


def test_a_quota_counts_what_is_there_now(tmp_path: Path, clock: HandClock) -> None:
    scene = open_scene(tmp_path, clock, quota_bytes=10)
    scene.put("a", b"123456")
    with pytest.raises(QuotaExceeded):
        scene.put("b", b"12345")
    scene.overwrite("a", b"1234567890")
    with pytest.raises(QuotaExceeded):
        scene.overwrite("a", b"12345678901")
    profile = scene.metadata.profile(scene.user)
    assert (profile.quota_bytes, profile.used_bytes, profile.files) == (10, 10, 1)
    scene.delete("a")
    scene.put("b", b"12345")
    assert scene.metadata.profile(scene.user).used_bytes == 5
    scene.metadata.close()


def test_mkdir_makes_a_folder_once(scene: Scene) -> None:
    item = scene.mkdir("a", attributes=mode(0o700))
    assert (item.kind, item.category, item.attributes.mode, item.version) == (Kind.FOLDER, "folders", 0o700, None)
    with pytest.raises(Exists):
        scene.mkdir("a")


def test_mkdir_with_merge_answers_the_present_folder_unchanged(scene: Scene) -> None:
    item = scene.mkdir("a")
    applied = scene.do(Mkdir(scene.root, "a", OnExisting.MERGE, mode(0o700)))
    assert (applied.status, applied.item) == (200, item)


def test_mkdir_with_merge_onto_a_file_is_refused(scene: Scene) -> None:
    scene.put("a")
    with pytest.raises(Exists):
        scene.mkdir("a", exists=OnExisting.MERGE)


def test_a_folder_keeps_its_mtime_when_nobody_asks(scene: Scene) -> None:
    folder = scene.mkdir("a")
    scene.put("a/file")
    assert scene.find("a") == folder


def test_parent_mtime_is_set_where_it_is_given(scene: Scene) -> None:
    scene.mkdir("a")
    scene.put("a/file", parent_mtime_ns=123_000_000)
    assert scene.find("a").mtime_ms == 123
    assert scene.find("a").revision == 2
    scene.put("again", parent_mtime_ns=123_000_000)
    assert scene.find("").mtime_ms == 123


def test_part_1_clients_have_folders_touched_by_the_servers_clock(scene: Scene) -> None:
    scene.mkdir("a", attributes=AttributeChange({"mtime_ns": 0}))
    scene.do(Put(scene.at("a"), "file", 1), b"x", touch_parent=True)
    assert scene.find("a").mtime_ms >= START_NS // 1_000_000


def test_a_symlink_is_an_empty_file_with_a_text(scene: Scene) -> None:
    item = scene.symlink("link", "../there")
    assert (item.kind, item.size_bytes, item.attributes.symlink) == (Kind.SYMLINK, 0, "../there")
    assert item.id is not None
    assert scene.fetch(item.id) == b""


def test_content_turns_a_link_into_a_file_and_back(scene: Scene) -> None:
    scene.symlink("x", "there", attributes=mode(0o777))
    file = scene.overwrite("x", b"data")
    assert (file.kind, file.attributes.symlink, file.attributes.mode) == (Kind.FILE, None, 0o777)
    link = scene.symlink("x", "there", exists=OnExisting.OVERWRITE, if_match=file.version)
    assert (link.kind, link.size_bytes, link.node) == (Kind.SYMLINK, 0, file.node)
    assert scene.metadata.profile(scene.user).used_bytes == 0


def test_a_special_file_is_an_empty_put_that_says_so(scene: Scene) -> None:
    assert scene.put("pipe", b"", attributes=AttributeChange({"special": "fifo"})).kind is Kind.FIFO
    with pytest.raises(Malformed):
        scene.put("full", b"x", attributes=AttributeChange({"special": "fifo"}))


@pytest.mark.parametrize("exists", [OnExisting.MERGE, OnExisting.EXCHANGE])
def test_put_refuses_what_only_others_know(scene: Scene, exists: OnExisting) -> None:
    with pytest.raises(Malformed):
        scene.put("a", exists=exists)


def test_a_put_may_name_a_folder_made_before_it_in_the_batch(scene: Scene) -> None:
    scene.apply(Mkdir(scene.root, "a"), Mkdir(Made(0), "b"), (Put(Made(1), "c", 1), b"x"))
    assert scene.tree() == {"a": None, "a/b": None, "a/b/c": b"x"}
