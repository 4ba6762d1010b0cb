"""The table of changes: ordered by commit, complete, and enough to build the tree again."""

from __future__ import annotations

import threading

from bitcasafs.values.items import IdempotencyKey
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Place, Put, SetAttributes
from tests.support.metadata import Scene, mode
from tests.support.metadata_history import history, replayed


def seen(scene: Scene) -> list[tuple[str, str | None]]:
    return [(change.kind, change.name) for change in history(scene)]


def test_each_operation_leaves_its_rows_in_order(scene: Scene) -> None:
    scene.mkdir("a")
    scene.put("a/x")
    scene.overwrite("a/x", b"new")
    scene.do(SetAttributes(scene.at("a/x"), mode(0o600)))
    scene.move("a/x", "y")
    scene.delete("y")
    assert seen(scene) == [("put", "a"), ("put", "x"), ("put", "x"), ("put", "x"), ("put", "y"), ("gone", "y")]
    assert [change.cursor for change in history(scene)] == [1, 2, 3, 4, 5, 6]
    assert history(scene)[4].from_path == f"{scene.root.path}/a/x"


def test_an_answers_cursor_is_its_changes_row(scene: Scene) -> None:
    told = scene.apply(Mkdir(scene.root, "a"), (Put(scene.root, "b", 1), b"x"))
    assert [one.cursor for one in told] == ["1", "2"]
    assert scene.metadata.roots(scene.user).cursor == "2"


def test_what_changes_nothing_leaves_no_row_and_does_not_move_the_cursor(scene: Scene) -> None:
    scene.mkdir("a")
    told = scene.apply(
        Mkdir(scene.root, "a"), Mkdir(scene.root, "a", OnExisting.MERGE), Move(scene.at("a"), scene.root, "a")
    )
    assert [one.cursor for one in told] == [None, "1", "1"]
    assert scene.metadata.roots(scene.user).cursor == "1"
    assert len(history(scene)) == 1


def test_overwriting_by_a_move_tells_of_what_is_gone_first(scene: Scene) -> None:
    scene.put("a")
    scene.put("b")
    scene.move("a", "b", exists=OnExisting.OVERWRITE)
    gone, put = history(scene)[-2:]
    assert (gone.kind, gone.name, put.kind, put.name) == ("gone", "b", "put", "b")
    assert gone.node != put.node


def test_an_exchange_tells_of_both(scene: Scene) -> None:
    scene.put("a")
    scene.put("b")
    scene.move("a", "b", exists=OnExisting.EXCHANGE)
    paths = [change.from_path for change in history(scene)[-2:]]
    assert paths == [f"{scene.root.path}/a", f"{scene.root.path}/b"]


def test_a_recursive_delete_is_one_row(scene: Scene) -> None:
    scene.mkdir("a")
    scene.put("a/x")
    scene.delete("a", recursive=True)
    assert seen(scene)[2:] == [("gone", "a")]


def test_a_folder_that_many_operations_touch_is_told_of_once_a_group(scene: Scene) -> None:
    scene.mkdir("a")
    scene.apply(*((Put(scene.at("a"), f"{n}", 1, parent_mtime_ns=n + 1), b"x") for n in range(50)))
    assert [change.name for change in history(scene)[1:]] == [*(f"{n}" for n in range(50)), "a"]
    assert scene.find("a").revision == 51


def test_a_row_carries_the_key_of_its_change(scene: Scene) -> None:
    key = IdempotencyKey("0123456789abcdef")
    scene.do(Mkdir(scene.root, "a", key=key))
    scene.do(Mkdir(scene.root, "a", key=key))
    assert [change.key for change in history(scene)] == [key]


def test_replaying_the_history_gives_the_tree(scene: Scene) -> None:
    for name in ("a", "a/b", "c"):
        scene.mkdir(name)
    scene.put("a/b/x")
    scene.put("y", parent_mtime_ns=5)
    scene.move("a/b", "c/b")
    scene.move("y", "c/b/x", exists=OnExisting.OVERWRITE)
    scene.move("a", "c/b/x", exists=OnExisting.EXCHANGE)
    scene.delete("c", recursive=True)
    scene.mkdir("c")
    scene.put("c/z")
    assert replayed(scene) == set(scene.tree())


def test_changes_of_many_threads_are_ordered_and_complete(scene: Scene) -> None:
    start = threading.Barrier(6)
    cursors: list[int] = []

    def work(number: int) -> None:
        start.wait()
        for turn in range(8):
            name = f"{number}-{turn}"
            told = scene.apply((Put(scene.root, name, 1), b"x"), Delete(Place(scene.root, name)))
            cursors.extend(int(one.cursor) for one in told if one.cursor is not None)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = history(scene)
    assert [row.cursor for row in rows] == list(range(1, 6 * 8 * 2 + 1))
    assert sorted(cursors) == [row.cursor for row in rows]
    moments = [row.at_ns for row in rows]
    assert moments == sorted(moments)


def test_drives_have_histories_of_their_own(scene: Scene) -> None:
    other = Scene(scene.metadata, scene.clock, scene.metadata.add_user("bert", "x"))
    scene.mkdir("a")
    other.mkdir("b")
    assert [change.cursor for change in history(scene)] == [1]
    assert [change.cursor for change in history(other)] == [1]
