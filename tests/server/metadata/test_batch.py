"""Many operations in one call: order, failures, keys, and who is told what when."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from bitcasafs.errors import Busy, Exists, KeyReused, Malformed, NotFound, PredecessorFailed
from bitcasafs.server.metadata import Metadata
from bitcasafs.server.metadata.batch import GROUP
from bitcasafs.values.items import AttributeChange, IdempotencyKey
from bitcasafs.values.operations import Delete, Made, Mkdir, Move, OnExisting, Operation, Put, SetAttributes, Symlink
from tests.support.metadata import HandClock, Scene, failure, mode, open_scene, request

KEY = IdempotencyKey("0123456789abcdef")


def test_one_bad_operation_among_a_thousand_stops_nothing(scene: Scene) -> None:
    pairs: list[tuple[Operation, bytes | None]] = [(Put(scene.root, f"{n:04d}", 1), b"x") for n in range(1000)]
    pairs[500] = (Put(scene.root, "0007", 1), b"y")
    told = scene.apply(*pairs)
    assert [n for n, one in enumerate(told) if one.error is not None] == [500]
    assert failure(told[500]) is Exists
    assert len(scene.names()) == 999
    assert scene.read("0007") == b"x"


def test_what_names_a_failed_operation_fails_with_it(scene: Scene) -> None:
    scene.mkdir("a")
    told = scene.apply(
        Mkdir(scene.root, "a"), (Put(Made(0), "x", 1), b"x"), Symlink(Made(1), "y", "z"), Mkdir(scene.root, "b")
    )
    assert [failure(one) for one in told] == [Exists, PredecessorFailed, PredecessorFailed, None]
    assert scene.tree() == {"a": None, "b": None}


def test_an_operation_can_be_named_from_a_later_group(scene: Scene) -> None:
    rest = [(Put(Made(0), f"{n:04d}", 1), b"x") for n in range(2 * GROUP)]
    told = scene.apply(Mkdir(scene.root, "a"), *rest, SetAttributes(Made(5), mode(0o600)), Delete(Made(6)))
    assert [one.error for one in told if one.error] == []
    assert len(scene.names("a")) == 2 * GROUP - 1
    assert scene.find("a/0004").attributes.mode == 0o600


@pytest.mark.parametrize("op", [-1, 1, 2, 99])
def test_an_operation_that_is_not_earlier_cannot_be_named(scene: Scene, op: int) -> None:
    told = scene.apply(Mkdir(scene.root, "a"), Mkdir(Made(op), "b"))
    assert failure(told[1]) is Malformed


def test_an_operation_that_made_nothing_cannot_be_named(scene: Scene) -> None:
    scene.put("a")
    told = scene.apply(Delete(scene.at("a")), SetAttributes(Made(0), mode(0o600)))
    assert [failure(one) for one in told] == [None, Malformed]


def test_operations_of_a_batch_see_each_other(scene: Scene) -> None:
    told = scene.apply(
        (Put(scene.root, "a", 1), b"1"),
        Move(scene.at("a"), scene.root, "b"),
        (Put(scene.root, "a", 1), b"2"),
        Move(scene.at("a"), scene.root, "b", OnExisting.EXCHANGE),
        Delete(scene.at("a")),
        (Put(scene.root, "a", 1, OnExisting.RENAME), b"3"),
        (Put(scene.root, "a", 1, OnExisting.RENAME), b"4"),
        (Put(scene.root, "a", 2, OnExisting.OVERWRITE), b"55"),
    )
    assert [failure(one) for one in told] == [None] * 8
    assert scene.tree() == {"a": b"55", "a (1)": b"4", "b": b"2"}
    profile = scene.metadata.profile(scene.user)
    assert (profile.used_bytes, profile.files) == (4, 3)


def test_a_group_is_durable_before_any_of_it_is_told(scene: Scene) -> None:
    requests = [request(Put(scene.root, f"{n:04d}", 1), b"x") for n in range(2 * GROUP)]
    told = scene.metadata.apply(scene.user, requests)
    next(told)
    assert len(scene.names()) == GROUP
    told.close()
    assert len(scene.names()) == GROUP


# --- keys ---------------------------------------------------------------------------------------------------------


def test_a_repeated_request_gets_the_first_answer(scene: Scene) -> None:
    put = Put(scene.root, "a", 1, attributes=AttributeChange({"mode": 0o600}, xattrs={"user.x": b"\xff"}), key=KEY)
    first = scene.do(put, b"x")
    scene.overwrite("a", b"other")
    again = scene.do(put, b"x")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.status, again.item, again.cursor) == (first.status, first.item, first.cursor)
    assert scene.read("a") == b"other"


def test_a_repeated_delete_gets_its_answer(scene: Scene) -> None:
    scene.put("a")
    delete = Delete(scene.at("a"), key=KEY)
    first = scene.do(delete)
    scene.put("a")
    again = scene.do(delete)
    assert (again.status, again.item, again.replayed) == (first.status, None, True)
    assert scene.names() == ["a"]


def test_a_key_with_another_request_is_refused(scene: Scene) -> None:
    scene.do(Put(scene.root, "a", 1, key=KEY), b"x")
    told = scene.apply((Put(scene.root, "a", 1, key=KEY), b"y"), Mkdir(scene.root, "b", key=KEY))
    assert [failure(one) for one in told] == [KeyReused, KeyReused]
    assert scene.tree() == {"a": b"x"}


def test_the_same_key_twice_in_one_batch_is_one_request(scene: Scene) -> None:
    mkdir = Mkdir(scene.root, "a", key=KEY)
    told = scene.apply(mkdir, mkdir, Mkdir(Made(1), "below"))
    assert [one.replayed for one in told] == [False, True, False]
    assert told[0].item == told[1].item
    assert scene.tree() == {"a": None, "a/below": None}


def test_failures_are_not_kept(scene: Scene) -> None:
    scene.put("a")
    mkdir = Mkdir(scene.root, "a", key=KEY)
    assert failure(scene.apply(mkdir)[0]) is Exists
    scene.delete("a")
    assert scene.do(mkdir).status == 201


def test_keys_belong_to_an_account(scene: Scene) -> None:
    other = Scene(scene.metadata, scene.clock, scene.metadata.add_user("bert", "x"))
    scene.do(Mkdir(scene.root, "a", key=KEY))
    assert not other.do(Mkdir(other.root, "b", key=KEY)).replayed


def test_answers_are_kept_over_a_restart_and_for_thirty_days(tmp_path: Path, clock: HandClock) -> None:
    scene = open_scene(tmp_path, clock)
    mkdir = Mkdir(scene.root, "a", key=KEY)
    scene.do(mkdir)
    scene.metadata.close()
    scene.metadata = Metadata.open(f"sqlite:///{tmp_path}/metadata.db", clock=clock)
    clock.advance(29.9 * 86_400)
    scene.metadata.expire()
    assert scene.do(mkdir).replayed
    clock.advance(0.2 * 86_400)
    assert scene.metadata.expire().answers == 1
    assert failure(scene.apply(mkdir)[0]) is Exists
    scene.metadata.close()


@pytest.mark.parametrize("key", ["", "short", "x" * 65])
def test_a_key_of_a_wrong_length_is_refused(scene: Scene, key: str) -> None:
    assert failure(scene.apply(Mkdir(scene.root, "a", key=IdempotencyKey(key)))[0]) is Malformed


# --- the database -------------------------------------------------------------------------------------------------


def test_an_unknown_user_is_refused(scene: Scene) -> None:
    with pytest.raises(NotFound):
        list(scene.metadata.apply(99, [request(Mkdir(scene.root, "a"))]))


def test_a_database_that_cannot_be_written_fails_the_operations_and_not_the_batch(scene: Scene, tmp_path: Path) -> None:
    _, writers = scene.metadata.database.engines()
    with writers.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    blocker = sqlite3.connect(tmp_path / "metadata.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    told = scene.apply(Mkdir(scene.root, "a"), Mkdir(Made(0), "b"))
    assert [failure(one) for one in told] == [Busy, Busy]
    assert isinstance(told[0].error, Busy)
    assert told[0].error.applied is False
    blocker.execute("ROLLBACK")
    blocker.close()
    assert scene.do(Mkdir(scene.root, "a")).status == 201


def test_of_many_threads_that_make_the_same_name_one_wins(scene: Scene) -> None:
    start = threading.Barrier(8)
    wins: list[int] = []

    def make(number: int) -> None:
        start.wait()
        mine = [scene.apply((Put(scene.root, f"{name}", 1), b"%d" % number))[0] for name in range(10)]
        wins.extend(name for name, applied in enumerate(mine) if failure(applied) is None)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(10))
    assert len(scene.names()) == 10


def test_threads_that_move_the_same_folders_never_make_a_loop(scene: Scene) -> None:
    names = ["a", "b", "c", "d"]
    nodes = {name: scene.mkdir(name).address for name in names}
    start = threading.Barrier(4)

    def shuffle(number: int) -> None:
        start.wait()
        for turn in range(12):
            moved, into = names[(number + turn) % 4], names[(number * 3 + turn * 2 + 1) % 4]
            scene.apply(Move(nodes[moved], nodes[into], moved))

    threads = [threading.Thread(target=shuffle, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.rpartition("/")[2] for path in scene.tree()) == names
