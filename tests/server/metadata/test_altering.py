"""attributes, move and delete: what is there changes, goes elsewhere, or goes."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from bitcasafs.errors import (
    Ambiguous,
    Exists,
    Forbidden,
    IsFolder,
    Loop,
    Malformed,
    NotEmpty,
    NotFolder,
    NotFound,
    ReadOnly,
    TooLarge,
    VersionGone,
    VersionMismatch,
)
from bitcasafs.server.metadata.accounts import add_drive
from bitcasafs.server.metadata.schema import drives, entries, nodes
from bitcasafs.values.items import Address, AttributeChange, Item, Kind, RootKind, Version
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Place, Put, SetAttributes
from tests.support.metadata import Scene, failure, mode


def set_attributes(scene: Scene, path: str, change: AttributeChange, if_revision: int | None = None) -> Item:
    item = scene.do(SetAttributes(scene.at(path), change, if_revision)).item
    assert item is not None
    return item


# --- attributes ---------------------------------------------------------------------------------------------------


def test_attributes_merge_and_change_the_revision_but_not_the_version(scene: Scene) -> None:
    first = scene.put("a", attributes=mode(0o600, uid=1, gid=2))
    item = set_attributes(
        scene, "a", AttributeChange({"mode": 0o644, "atime_ns": -7}, frozenset({"gid"}), {"user.x": b"\0\xff"})
    )
    kept = item.attributes
    assert (kept.mode, kept.uid, kept.gid, kept.atime_ns) == (0o644, 1, None, -7)
    assert kept.xattrs == {"user.x": b"\0\xff"}
    assert (item.version, item.revision) == (first.version, 2)
    assert scene.find("a") == item


def test_xattrs_merge_by_name(scene: Scene) -> None:
    scene.put("a", attributes=AttributeChange(xattrs={"user.a": b"1", "user.b": b"2"}))
    item = set_attributes(scene, "a", AttributeChange(xattrs={"user.a": None, "user.c": b"3"}))
    assert item.attributes.xattrs == {"user.b": b"2", "user.c": b"3"}
    assert set_attributes(scene, "a", AttributeChange(xattrs={"user.b": None, "user.c": None})).attributes.xattrs == {}


def test_more_xattrs_than_an_item_can_hold_are_refused(scene: Scene) -> None:
    scene.put("a", attributes=AttributeChange(xattrs={"user.a": b"x" * 40_000}))
    with pytest.raises(TooLarge):
        set_attributes(scene, "a", AttributeChange(xattrs={"user.b": b"x" * 40_000}))


def test_every_change_sets_ctime_unless_it_says_otherwise(scene: Scene) -> None:
    ctimes = [
        scene.put("a", attributes=mode(0o600)).attributes.ctime_ns or 0,
        set_attributes(scene, "a", mode(0o644)).attributes.ctime_ns or 0,
        scene.move("a", "b").attributes.ctime_ns or 0,
        scene.overwrite("b", b"new").attributes.ctime_ns or 0,
    ]
    assert ctimes == sorted(set(ctimes))
    assert set_attributes(scene, "b", AttributeChange({"ctime_ns": 5})).attributes.ctime_ns == 5


def test_a_removed_mtime_is_now(scene: Scene) -> None:
    scene.put("a", attributes=AttributeChange({"mtime_ns": 5}))
    before = scene.clock.now_ns
    assert (
        set_attributes(scene, "a", AttributeChange(removed=frozenset({"mtime_ns"}))).attributes.mtime_ns or 0
    ) > before


def test_attributes_under_a_condition_need_that_revision(scene: Scene) -> None:
    scene.put("a")
    changed = set_attributes(scene, "a", mode(0o600), if_revision=1)
    applied = scene.apply(SetAttributes(scene.at("a"), mode(0o644), 1))[0]
    assert isinstance(applied.error, VersionMismatch)
    assert applied.current == changed


def test_an_empty_change_changes_nothing(scene: Scene) -> None:
    item = scene.put("a")
    assert set_attributes(scene, "a", AttributeChange()) == item


def test_the_drive_itself_has_attributes(scene: Scene) -> None:
    item = set_attributes(scene, "", mode(0o755))
    assert (item.root, item.attributes.mode) == (RootKind.DRIVE, 0o755)


def test_what_has_content_cannot_become_a_link(scene: Scene) -> None:
    scene.put("full", b"x")
    scene.put("empty", b"")
    scene.mkdir("folder")
    assert set_attributes(scene, "empty", AttributeChange({"symlink": "there"})).kind is Kind.SYMLINK
    for path in ("full", "folder"):
        with pytest.raises(Malformed):
            set_attributes(scene, path, AttributeChange({"symlink": "there"}))
    with pytest.raises(Malformed):
        set_attributes(scene, "empty", AttributeChange({"special": "fifo"}))


# --- move ---------------------------------------------------------------------------------------------------------


def test_a_moved_file_keeps_node_and_version(scene: Scene) -> None:
    scene.mkdir("a")
    first = scene.put("a/x", b"data")
    item = scene.move("a/x", "y.txt")
    assert (item.node, item.version, item.revision) == (first.node, first.version, 2)
    assert (item.path, item.mime) == (f"{scene.root.path}/y.txt", "text/plain")
    assert scene.tree() == {"a": None, "y.txt": b"data"}


def test_a_moved_folder_carries_what_is_below(scene: Scene) -> None:
    scene.mkdir("a")
    scene.mkdir("a/b")
    below = scene.put("a/b/x", b"data")
    scene.mkdir("c")
    scene.move("a", "c/d")
    assert scene.tree() == {"c": None, "c/d": None, "c/d/b": None, "c/d/b/x": b"data"}
    found = scene.find("c/d/b/x")
    assert (found.node, found.revision) == (below.node, 1)
    assert scene.metadata.find(scene.user, Address("", below.node)).path == f"{scene.root.path}/c/d/b/x"


def test_paths_are_right_within_the_batch_that_moves_a_folder(scene: Scene) -> None:
    scene.mkdir("a")
    scene.put("a/x")
    told = scene.apply(
        SetAttributes(scene.at("a/x"), mode(0o600)),
        Move(scene.at("a"), scene.root, "b"),
        SetAttributes(scene.at("b/x"), mode(0o644)),
        SetAttributes(scene.at("a/x"), mode(0o644)),
    )
    assert [one.item and one.item.path.removeprefix(scene.root.path) for one in told] == ["/a/x", "/b", "/b/x", None]
    assert failure(told[3]) is NotFound


def test_a_move_onto_a_taken_name_is_refused_unless_it_overwrites(scene: Scene) -> None:
    scene.put("a", b"a")
    present = scene.put("b", b"b")
    applied = scene.apply(Move(scene.at("a"), scene.root, "b"))[0]
    assert (failure(applied), applied.current) == (Exists, present)
    scene.move("a", "b", exists=OnExisting.OVERWRITE)
    assert scene.tree() == {"b": b"a"}
    assert present.id is not None
    assert scene.fetch(present.id) == b"b"
    assert scene.metadata.profile(scene.user).files == 1


def test_a_folder_overwrites_an_empty_folder_alone(scene: Scene) -> None:
    scene.mkdir("a")
    scene.put("a/x")
    scene.mkdir("empty")
    scene.mkdir("full")
    scene.put("full/y")
    scene.put("file")
    overwrite = OnExisting.OVERWRITE
    with pytest.raises(NotEmpty):
        scene.move("a", "full", exists=overwrite)
    with pytest.raises(NotFolder):
        scene.move("a", "file", exists=overwrite)
    with pytest.raises(IsFolder):
        scene.move("file", "empty", exists=overwrite)
    scene.move("a", "empty", exists=overwrite)
    assert scene.tree("empty") == {"empty/x": b"data"}


def test_a_folder_cannot_move_into_itself(scene: Scene) -> None:
    scene.mkdir("a")
    scene.mkdir("a/b")
    scene.mkdir("a/b/c")
    for to in ("a/x", "a/b/x", "a/b/c/x"):
        with pytest.raises(Loop):
            scene.move("a", to)
    with pytest.raises(Loop):
        scene.move("a/b/c", "a", exists=OnExisting.EXCHANGE)
    scene.move("a/b/c", "a/c")
    assert scene.tree() == {"a": None, "a/b": None, "a/c": None}


def test_loops_are_seen_across_moves_of_one_batch(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.mkdir(name)
    told = scene.apply(Move(scene.at("a"), scene.at("b"), "a"), Move(scene.at("b"), scene.at("b/a"), "b"))
    assert [failure(one) for one in told] == [None, Loop]


def test_exchange_swaps_two_entries_of_any_kind(scene: Scene) -> None:
    scene.mkdir("a")
    scene.put("a/x", b"x")
    scene.mkdir("b")
    file = scene.put("b/y", b"y")
    scene.move("a", "b/y", exists=OnExisting.EXCHANGE)
    assert scene.tree() == {"a": b"y", "b": None, "b/y": None, "b/y/x": b"x"}
    assert scene.find("a").node == file.node
    with pytest.raises(NotFound):
        scene.move("a", "absent", exists=OnExisting.EXCHANGE)


def test_a_move_onto_its_own_name_changes_nothing(scene: Scene) -> None:
    item = scene.put("a")
    assert scene.move("a", "a") == item
    assert scene.move("a", "a", exists=OnExisting.OVERWRITE) == item


def test_moves_check_both_conditions(scene: Scene) -> None:
    first, second = scene.put("a", b"a"), scene.put("b", b"b")
    wrong = Version("A" * 22)
    for fields in ({"if_match": wrong}, {"if_match_target": wrong}):
        with pytest.raises(VersionMismatch):
            scene.move("a", "b", exists=OnExisting.OVERWRITE, **fields)
    with pytest.raises(VersionMismatch):
        scene.move("a", "free", if_match_target=second.version)
    scene.move("a", "b", exists=OnExisting.OVERWRITE, if_match=first.version, if_match_target=second.version)
    assert scene.tree() == {"b": b"a"}


def test_a_folders_condition_is_its_revision(scene: Scene) -> None:
    scene.mkdir("a")
    with pytest.raises(VersionMismatch):
        scene.move("a", "b", if_match=Version("2"))
    assert scene.move("a", "b", if_match=Version("1")).revision == 2


def test_both_folders_get_the_mtime_of_a_move(scene: Scene) -> None:
    scene.mkdir("a")
    scene.mkdir("b")
    scene.put("a/x")
    scene.move("a/x", "b/x", parent_mtime_ns=9_000_000)
    assert [scene.find(path).mtime_ms for path in ("a", "b")] == [9, 9]


# --- delete -------------------------------------------------------------------------------------------------------


def test_a_deleted_file_is_gone_and_its_content_is_kept(scene: Scene) -> None:
    item = scene.put("a", b"data")
    scene.delete("a")
    assert scene.tree() == {}
    assert item.id is not None
    assert scene.fetch(item.id) == b"data"
    assert scene.metadata.content(scene.user, item.id).name is None
    with pytest.raises(NotFound):
        scene.metadata.find(scene.user, item.address)
    with pytest.raises(NotFound):
        scene.find("a")


def test_the_name_of_a_deleted_item_is_free_for_another_node(scene: Scene) -> None:
    first = scene.put("a")
    scene.delete("a")
    assert scene.put("a").node != first.node


def test_a_folder_that_is_not_empty_needs_recursive(scene: Scene) -> None:
    folder = scene.mkdir("a")
    scene.put("a/x")
    applied = scene.apply(Delete(scene.at("a")))[0]
    assert (failure(applied), applied.current) == (NotEmpty, folder)
    scene.delete("a/x")
    scene.delete("a")
    assert scene.tree() == {}


def test_a_recursive_delete_takes_all_that_is_below(scene: Scene) -> None:
    scene.mkdir("a")
    scene.mkdir("a/b")
    deep = scene.put("a/b/x", b"12345")
    scene.symlink("a/link", "x")
    scene.put("kept", b"123")
    scene.delete("a", recursive=True)
    assert scene.tree() == {"kept": b"123"}
    profile = scene.metadata.profile(scene.user)
    assert (profile.used_bytes, profile.files) == (3, 1)
    assert deep.id is not None
    assert scene.fetch(deep.id) == b"12345"
    assert scene.metadata.content(scene.user, deep.id).name is None
    with pytest.raises(NotFound):
        scene.metadata.find(scene.user, Address("", deep.node))


def test_a_recursive_delete_sees_what_its_batch_did_before(scene: Scene) -> None:
    scene.mkdir("a")
    scene.put("a/old", b"1")
    scene.put("moved", b"22")
    told = scene.apply(
        (Put(scene.at("a"), "new", 3), b"333"),
        Move(scene.at("moved"), scene.at("a"), "moved"),
        Move(scene.at("a/old"), scene.root, "old"),
        Delete(scene.at("a"), recursive=True),
        Mkdir(scene.root, "a"),
    )
    assert [failure(one) for one in told] == [None] * 5
    assert scene.tree() == {"a": None, "old": b"1"}
    profile = scene.metadata.profile(scene.user)
    assert (profile.used_bytes, profile.files) == (1, 1)


def test_a_delete_checks_its_condition(scene: Scene) -> None:
    item = scene.put("a")
    scene.overwrite("a", b"new")
    with pytest.raises(VersionMismatch):
        scene.delete("a", if_match=item.version)
    scene.delete("a", if_match=scene.find("a").version)


def test_the_drive_itself_can_be_neither_moved_nor_deleted(scene: Scene) -> None:
    scene.mkdir("a")
    told = scene.apply(
        Delete(scene.root, recursive=True), Move(scene.root, scene.at("a"), "x"), Mkdir(Address("/"), "x")
    )
    assert [failure(one) for one in told] == [Forbidden] * 3


def test_a_mirrored_folder_cannot_be_changed(scene: Scene) -> None:
    with scene.metadata.database.writing() as connection:
        number = add_drive(connection, scene.user, RootKind.BACKUP, "Laptop", 0)
        public = connection.execute(select(drives.c.public).where(drives.c.id == number)).scalar_one()
    roots = scene.metadata.roots(scene.user).items
    assert [(root.name, root.mirrored, root.root) for root in roots] == [
        ("Bitcasa Infinite Drive", False, RootKind.DRIVE),
        ("Laptop", True, RootKind.BACKUP),
    ]
    mirror = Address(f"/{public}")
    scene.put("a")
    told = scene.apply(
        (Put(mirror, "x", 1), b"x"),
        Mkdir(mirror, "x"),
        SetAttributes(mirror, mode(0o700)),
        Move(scene.at("a"), mirror, "x"),
        Delete(mirror),
    )
    assert [failure(one) for one in told] == [ReadOnly] * 5


def hard_link(scene: Scene, path: str, name: str) -> None:
    """A second entry in the drive's root, as the operation `link` will make it."""
    with scene.metadata.database.writing() as connection:
        root = connection.execute(select(drives.c.root)).scalar_one()
        node = connection.execute(select(nodes.c.id).where(nodes.c.token == scene.find(path).node)).scalar_one()
        connection.execute(insert(entries).values(parent=root, name=name, node=node))
        connection.execute(update(nodes).where(nodes.c.id == node).values(nlink=2))


def test_a_node_with_several_names_is_moved_and_deleted_by_name_alone(scene: Scene) -> None:
    item = scene.put("a", b"data")
    hard_link(scene, "a", "b")
    by_node = Address("", item.node)
    told = scene.apply(Delete(by_node), Move(by_node, scene.root, "c"), SetAttributes(by_node, mode(0o600)))
    assert [failure(one) for one in told] == [Ambiguous, Ambiguous, None]
    assert [(one.name, one.nlink, one.attributes.mode) for one in scene.items()] == [("a", 2, 0o600), ("b", 2, 0o600)]
    assert scene.do(Delete(Place(scene.root, "a"))).item is None
    assert scene.tree() == {"b": b"data"}
    assert scene.find("b").nlink == 1
    scene.delete("b")
    assert item.id is not None
    assert scene.metadata.content(scene.user, item.id).name is None


def test_a_version_that_never_was_is_gone(scene: Scene) -> None:
    item = scene.put("a")
    assert item.id is not None
    with pytest.raises(VersionGone):
        scene.fetch(item.id, "never")
