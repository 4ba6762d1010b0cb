"""Finding, listing and fetching; one user never sees another's drive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event, select, text

from bitcasafs.dialects.names import NodeTarget, PathTarget
from bitcasafs.errors import Forbidden, NotFolder, NotFound, VersionGone
from bitcasafs.server.metadata.batch import GROUP
from bitcasafs.server.metadata.interface import Column
from bitcasafs.server.metadata.listing import FETCH_ROWS, LISTING
from bitcasafs.server.metadata.schema import drives
from bitcasafs.values.items import Address, AttributeChange, Item, NodeId, RootKind
from bitcasafs.values.operations import Delete, Mkdir, Move, Place, Put, SetAttributes, Symlink
from tests.support.metadata import Scene, failure, mode


@contextmanager
def statements(scene: Scene) -> Iterator[list[str]]:
    """The SQL that is run inside."""
    seen: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    engines = scene.metadata.database.engines()
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def fill(scene: Scene, count: int) -> None:
    scene.mkdir("big")
    folder = scene.at("big")
    assert not any(one.error for one in scene.apply(*((Put(folder, f"{n:06d}.txt", 1), b"x") for n in range(count))))


def test_a_new_user_has_an_empty_drive(scene: Scene) -> None:
    listing = scene.metadata.roots(scene.user)
    (root,) = listing.items
    assert (root.name, root.root, root.path) == ("Bitcasa Infinite Drive", RootKind.DRIVE, scene.root.path)
    assert root.mount_point is not None
    assert len(root.path) == 65
    assert scene.names() == []
    assert listing.cursor == "0"


def test_an_item_is_found_by_every_way_of_naming_it(scene: Scene) -> None:
    folder = scene.mkdir("a")
    item = scene.put("a/x")
    assert folder.node is not None
    assert item.node is not None
    for where in (
        scene.at("a/x"),
        Address("ignored", item.node),
        Address(f"/.node/{item.node}"),
        Address(f"/.node/{folder.node}/x"),
        Address(f"/{scene.root.path}//a//x/"),
        Place(scene.at("a"), "x"),
        Place(folder.address, "x"),
        NodeTarget(item.node),
        NodeTarget(folder.node, "x"),
        PathTarget(scene.root.path[1:], ("a", "x")),
    ):
        assert scene.metadata.find(scene.user, where) == item


def test_what_is_not_there_is_not_found(scene: Scene) -> None:
    scene.put("file")
    for where in (
        scene.at("absent"),
        Address("", NodeId("absent")),
        Address("/" + "0" * 64),
        Address("/nonsense"),
        Address("/.node"),
        Place(scene.root, "absent"),
    ):
        with pytest.raises(NotFound):
            scene.metadata.find(scene.user, where)
    with pytest.raises(NotFolder):
        scene.find("file/below")
    with pytest.raises(Forbidden):
        scene.metadata.find(scene.user, Address("/"))


def test_a_listing_names_its_folder_and_every_item(scene: Scene) -> None:
    folder = scene.mkdir("a")
    items = [
        scene.mkdir("a/folder", attributes=mode(0o755)),
        scene.symlink("a/link", "x"),
        scene.put("a/ü.jpg", b"xx", attributes=AttributeChange({"mtime_ns": 5}, xattrs={"user.x": b"1"})),
    ]
    page = scene.metadata.list_folder(scene.user, folder.address)
    assert (page.name, page.total, page.start, page.stop, page.cursor) == ("a", None, 0, None, "4")
    assert list(page.items) == items
    assert [item.parent for item in items] == [folder.node] * 3
    assert items[2].category == "photos"


def test_a_file_cannot_be_listed(scene: Scene) -> None:
    scene.put("a")
    with pytest.raises(NotFolder):
        scene.items("a")


@pytest.mark.parametrize(
    ("top", "bottom", "expected", "span"),
    [
        (0, 2, "ab", (0, 2)),
        (1, None, "bcde", (1, 5)),
        (3, 500, "de", (3, 5)),
        (5, 9, "", (5, 5)),
        (7, 9, "", (5, 5)),
        (3, 1, "", (3, 3)),
        (-4, 2, "ab", (0, 2)),
    ],
)
def test_a_window_is_honoured_and_the_true_end_told(
    scene: Scene, top: int | None, bottom: int | None, expected: str, span: tuple[int, int]
) -> None:
    for name in "edcba":
        scene.put(name)
    page = scene.metadata.list_folder(scene.user, scene.root, top=top, bottom=bottom)
    assert "".join(item.name for item in page.items) == expected
    assert (page.start, page.stop, page.total) == (*span, 5)


def test_rows_are_counted_for_a_window_alone(scene: Scene) -> None:
    scene.put("a")
    for top, expected in ((None, None), (0, 1)):
        with statements(scene) as seen:
            assert scene.metadata.list_folder(scene.user, scene.root, top=top).total == expected
        assert any("count(" in statement for statement in seen) == (top is not None)


def test_rows_are_sorted_by_name_mtime_or_size_and_then_by_name(scene: Scene) -> None:
    for name, size, mtime_ns in (("a", 3, 10), ("b", 1, 30), ("c", 1, 20), ("d", 2, 20)):
        scene.put(name, b"x" * size, attributes=AttributeChange({"mtime_ns": mtime_ns}))
    scene.mkdir("e", attributes=AttributeChange({"mtime_ns": 40}))

    def names(column: Column | str, *, ascending: bool = True) -> str:
        page = scene.metadata.list_folder(scene.user, scene.root, sort_column=column, ascending=ascending)
        return "".join(item.name for item in page.items)

    assert names(Column.NAME) == "abcde"
    assert names("name", ascending=False) == "edcba"
    assert names("mtime") == "acdbe"
    assert names(Column.SIZE) == "ebcda"
    assert names("size", ascending=False) == "adbce"
    assert names("album") == "abcde"


def test_a_long_listing_costs_as_many_statements_as_a_short_one(scene: Scene) -> None:
    fill(scene, 5 * FETCH_ROWS // 2)
    with statements(scene) as short:
        assert scene.names() == ["big"]
    with statements(scene) as long:
        assert len(scene.names("big")) == 5 * FETCH_ROWS // 2
    # One more to walk the path to the folder and one for its own place.
    assert len(long) - len(short) <= 2
    assert sum("ORDER BY entries.name" in statement for statement in long) == 1


def test_the_listing_reads_only_indexes_in_the_order_of_names(scene: Scene) -> None:
    with scene.metadata.database.reading() as connection:
        root = connection.execute(select(drives.c.root)).scalar_one()
        query = str(LISTING.order_by(text("entries.name")).compile(compile_kwargs={"render_postcompile": True}))
        plan = [row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"), {"folder": root}).all()]
    assert plan[0] == "SEARCH entries USING PRIMARY KEY (parent=?)"
    assert [step.split(" (")[0] for step in plan[1:]] == [
        "SEARCH nodes USING INTEGER PRIMARY KEY",
        "SEARCH versions USING INTEGER PRIMARY KEY",
    ]


def test_a_long_listing_is_one_snapshot_whatever_is_written_meanwhile(scene: Scene) -> None:
    count = 2 * FETCH_ROWS + 7
    fill(scene, count)
    page = scene.metadata.list_folder(scene.user, scene.at("big"))
    first = next(page.items)
    scene.delete("big", recursive=True)
    names = [first.name]
    # In another thread, as a server reads it.
    reader = threading.Thread(target=lambda: names.extend(item.name for item in page.items))
    reader.start()
    reader.join()
    assert names == [f"{n:06d}.txt" for n in range(count)]
    assert page.cursor == str(1 + count)


def test_a_listing_gives_its_connection_back_when_it_ends_or_is_closed(scene: Scene) -> None:
    fill(scene, FETCH_ROWS + 1)
    readers, _ = scene.metadata.database.engines()
    pool = readers.pool
    short = scene.metadata.list_folder(scene.user, scene.root)
    assert pool.checkedout() == 0  # type: ignore[attr-defined]  # of QueuePool
    assert [item.name for item in short.items] == ["big"]
    closed = scene.metadata.list_folder(scene.user, scene.at("big"))
    whole = scene.metadata.list_folder(scene.user, scene.at("big"))
    assert pool.checkedout() == 2  # type: ignore[attr-defined]
    next(closed.items)
    closed.items.close()
    closed.items.close()
    assert len(list(whole.items)) == FETCH_ROWS + 1
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    with pytest.raises(NotFound):
        scene.metadata.list_folder(scene.user, scene.at("absent"))
    assert pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_batch_in_one_folder_costs_few_statements(scene: Scene) -> None:
    scene.mkdir("a")
    scene.mkdir("a/b")
    with statements(scene) as seen:
        told = scene.apply(*((Put(scene.at("a/b"), f"{n}", 1), b"x") for n in range(GROUP)))
    assert len(seen) < 20
    nodes = [one.item.address for one in told if one.item is not None]
    with statements(scene) as seen:
        scene.apply(*(Delete(node) for node in nodes))
    assert len(seen) < 20


def test_a_deep_path_is_walked_once(scene: Scene) -> None:
    path = ""
    for level in range(60):
        path = f"{path}/n{level}" if path else f"n{level}"
        scene.mkdir(path)
    node = scene.find(path).node
    with statements(scene) as seen:
        found = scene.metadata.find(scene.user, Address("", node))
    assert found.path == f"{scene.root.path}/{path}"
    assert len(seen) < 8


# --- ids ----------------------------------------------------------------------------------------------------------


def test_an_invented_id_is_not_found(scene: Scene) -> None:
    item = scene.put("a")
    assert item.id is not None
    for file_id in ("", "A" * 88, "A" * 86 + "==", item.id[:-3] + "B==", item.id.lower(), item.id + "\n", "é" * 88):
        with pytest.raises(NotFound):
            scene.metadata.content(scene.user, file_id)


def test_the_content_of_a_moved_file_tells_its_new_name(scene: Scene) -> None:
    item = scene.put("a.tmp")
    scene.move("a.tmp", "a.jpg")
    assert item.id is not None
    found = scene.metadata.content(scene.user, item.id)
    assert (found.name, found.mime, found.version) == ("a.jpg", "image/jpeg", item.version)


# --- isolation ----------------------------------------------------------------------------------------------------


@pytest.fixture
def other(scene: Scene) -> Scene:
    return Scene(scene.metadata, scene.clock, scene.metadata.add_user("bert", "x"))


def test_another_users_items_are_not_found_by_any_way(scene: Scene, other: Scene) -> None:
    folder: Item = scene.mkdir("a")
    item = scene.put("a/x", b"secret")
    assert item.id is not None
    for where in (scene.root, scene.at("a"), folder.address, item.address, Place(scene.root, "a")):
        with pytest.raises(NotFound):
            other.metadata.find(other.user, where)
        with pytest.raises(NotFound):
            other.metadata.list_folder(other.user, where)
    with pytest.raises(NotFound):
        other.metadata.content(other.user, item.id)
    with pytest.raises(NotFound):
        other.metadata.content(other.user, item.id, "A" * 22)
    mine = other.put("mine")
    assert mine.id is not None
    with pytest.raises(VersionGone):
        other.metadata.content(other.user, mine.id, item.version)


def test_another_users_items_cannot_be_changed_by_any_way(scene: Scene, other: Scene) -> None:
    scene.mkdir("a")
    item = scene.put("a/x", b"secret")
    other.put("mine")
    before = (scene.tree(), scene.find("a/x"))
    told = other.apply(
        Mkdir(scene.root, "b"),
        (Put(scene.at("a"), "b", 1), b"x"),
        Symlink(scene.at("a"), "b", "x"),
        SetAttributes(item.address, mode(0)),
        Move(item.address, other.root, "stolen"),
        Move(other.at("mine"), scene.root, "given"),
        Delete(Address("", item.node)),
        Delete(scene.at("a"), recursive=True),
    )
    assert [failure(one) for one in told] == [NotFound] * 8
    assert (scene.tree(), scene.find("a/x")) == before
