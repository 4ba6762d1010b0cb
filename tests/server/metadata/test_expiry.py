"""What is dropped and when, and which content may be deleted."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import func, select

from bitcasafs.errors import VersionGone
from bitcasafs.server.metadata.expiry import ROUND_ROWS
from bitcasafs.server.metadata.schema import entries, nodes, versions
from bitcasafs.values.operations import Put
from tests.support.metadata import Scene
from tests.support.metadata_history import history

DAY = 86_400.0


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def rows(scene: Scene) -> tuple[int, int, int]:
    with scene.metadata.database.reading() as connection:
        counts = [connection.execute(select(func.count()).select_from(table)) for table in (nodes, entries, versions)]
        return tuple(count.scalar_one() for count in counts)  # type: ignore[return-value]  # three


def test_replaced_content_is_kept_for_thirty_days(scene: Scene) -> None:
    old = scene.put("a", b"old")
    scene.overwrite("a", b"new")
    assert old.id is not None
    scene.clock.advance(29.9 * DAY)
    assert scene.metadata.expire().digests == ()
    assert scene.fetch(old.id) == b"old"
    scene.clock.advance(0.2 * DAY)
    expired = scene.metadata.expire()
    assert (expired.digests, expired.versions, expired.nodes) == ((digest(b"old"),), 1, 0)
    with pytest.raises(VersionGone):
        scene.fetch(old.id)
    assert scene.read("a") == b"new"


def test_a_deleted_tree_is_dropped_with_all_its_rows(scene: Scene) -> None:
    scene.mkdir("a")
    scene.mkdir("a/b")
    scene.put("a/b/x", b"x")
    scene.put("a/early", b"early")
    scene.delete("a/early")
    scene.clock.advance(DAY)
    scene.delete("a", recursive=True)
    scene.clock.advance(29.5 * DAY)
    assert scene.metadata.expire().digests == (digest(b"early"),)
    scene.clock.advance(DAY)
    expired = scene.metadata.expire()
    assert set(expired.digests) == {digest(b"early"), digest(b"x")}
    assert (expired.versions, expired.nodes) == (1, 3)
    assert rows(scene) == (1, 0, 0)


def test_more_than_a_round_is_dropped_at_once(scene: Scene) -> None:
    scene.mkdir("a")
    count = ROUND_ROWS + 5
    scene.apply(*((Put(scene.at("a"), f"{n}", 4), b"%04d" % n) for n in range(count)))
    scene.delete("a", recursive=True)
    scene.clock.advance(31 * DAY)
    expired = scene.metadata.expire()
    assert (expired.versions, expired.nodes, len(expired.digests)) == (count, count + 1, count)
    assert rows(scene) == (1, 0, 0)


def test_content_that_another_file_has_is_not_named(scene: Scene) -> None:
    scene.put("a", b"same")
    scene.put("b", b"same")
    scene.delete("a")
    scene.clock.advance(31 * DAY)
    assert scene.metadata.expire().digests == ()
    assert scene.read("b") == b"same"


def test_content_is_named_again_until_it_was_deleted(scene: Scene) -> None:
    scene.put("a", b"x")
    scene.delete("a")
    scene.clock.advance(31 * DAY)
    assert scene.metadata.expire().digests == (digest(b"x"),)
    assert scene.metadata.expire().digests == (digest(b"x"),)
    scene.metadata.content_deleted([digest(b"x")])
    scene.metadata.content_deleted([digest(b"x")])
    scene.metadata.content_deleted([])
    assert scene.metadata.expire().digests == ()


def test_content_that_came_again_is_named_no_more(scene: Scene) -> None:
    scene.put("a", b"x")
    scene.delete("a")
    scene.clock.advance(31 * DAY)
    assert scene.metadata.expire().digests == (digest(b"x"),)
    scene.put("again", b"x")
    assert scene.metadata.expire().digests == ()
    assert scene.metadata.unreferenced([digest(b"x"), digest(b"never")]) == {digest(b"never")}


def test_empty_content_is_never_named(scene: Scene) -> None:
    scene.put("a", b"")
    scene.symlink("link", "x")
    scene.delete("a")
    scene.delete("link")
    scene.clock.advance(31 * DAY)
    expired = scene.metadata.expire()
    assert (expired.digests, expired.versions) == ((), 2)


def test_kept_versions_count_as_references(scene: Scene) -> None:
    scene.put("a", b"old")
    scene.overwrite("a", b"new")
    assert scene.metadata.unreferenced([digest(b"old"), digest(b"new")]) == set()
    assert scene.metadata.unreferenced([]) == set()


def test_old_history_is_forgotten_from_its_beginning(scene: Scene) -> None:
    scene.mkdir("a")
    scene.clock.advance(20 * DAY)
    scene.mkdir("b")
    scene.clock.advance(11 * DAY)
    assert scene.metadata.expire().changes == 1
    assert [change.name for change in history(scene)] == ["b"]
    scene.clock.advance(20 * DAY)
    assert scene.metadata.expire().changes == 1
    scene.mkdir("c")
    assert [(change.cursor, change.name) for change in history(scene)] == [(3, "c")]


def test_sessions_and_failures_are_dropped(scene: Scene) -> None:
    scene.metadata.open_session(b"1" * 32, scene.user, "csrf", lifetime_seconds=10)
    scene.metadata.open_session(b"2" * 32, scene.user, "csrf", lifetime_seconds=10 * DAY)
    scene.clock.advance(DAY)
    assert scene.metadata.expire().sessions == 1
    assert scene.metadata.session(b"2" * 32) is not None
