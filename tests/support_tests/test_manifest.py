"""Writers keep to the folder they promise, and the comparison finds what is lost, doubled or half."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

from tests.support.deeds import File, Folder, Hand, Kind, Step, Tree, after, draw, found
from tests.support.manifest import Writer, differences, settled, told

OLD, NEW = File(b"old"), Step(Kind.WRITE, "a.txt", "", 0, 1, 5)
SAVE = (
    Step(Kind.OPEN, "a.txt", "", os.O_WRONLY | os.O_TRUNC), NEW, Step(Kind.FSYNC, "a.txt"),
    Step(Kind.WRITE, "a.txt", "", 5, 2, 5), Step(Kind.CLOSE, "a.txt"),
)  # fmt: skip


def lines(*did: int, failed: int | None = None) -> list[str]:
    """Of a writer that began SAVE and got so far."""
    rows: list[dict[str, object]] = [{"begin": [step.to_row() for step in SAVE]}, *({"did": number} for number in did)]
    return [json.dumps(row) for row in rows + ([{"failed": failed}] if failed else [])]


def contents(trees: tuple[Tree, ...]) -> list[int | None]:
    """The sizes of a.txt."""
    return [len(entry.content) if isinstance(entry := tree.get("a.txt"), File) else None for tree in trees]


@pytest.mark.parametrize("seed", range(5))
def test_a_folder_holds_what_the_steps_say(tmp_path: Path, seed: int) -> None:
    chance, hand = random.Random(seed), Hand(tmp_path)
    tree: Tree = {}
    kinds = set()
    for _ in range(300):
        for step in draw(chance, tree):
            hand.do(step)
            tree = after(tree, step)
            kinds.add(step.kind)
    assert differences(tree, found(tmp_path)) == []
    assert kinds == set(Kind)


@pytest.mark.parametrize(
    ("did", "sizes"),
    [
        ((), [3, 0]),
        ((0,), [3, 0, 5]),
        ((0, 1), [3, 0, 5, 5]),
        ((0, 1, 2), [5, 10]),
        ((0, 1, 2, 3), [5, 10, 10]),
        ((0, 1, 2, 3, 4), [10]),
    ],
)  # fmt: skip
def test_what_may_be_there_reaches_from_the_last_promise_to_the_step_on_its_way(
    did: tuple[int, ...], sizes: list[int]
) -> None:
    was_told = told(lines(*did, failed=103), {"a.txt": OLD})
    assert contents(was_told.allowed) == sizes
    assert (was_told.deeds, was_told.error) == (len(did) // 5, 103)


def test_unsealed_content_may_stand_beside_its_name_and_nothing_else_may() -> None:
    allowed = told(lines(0, 1), {"a.txt": OLD}).allowed
    half = File(NEW.data)
    beside = "a (recovered 2026-11-24).txt"
    assert settled(allowed, {"a.txt": OLD, beside: half}) == {"a.txt": OLD, beside: half}
    for extra in ({beside: OLD}, {"b (recovered 2026-11-24).txt": half}, {"a (1).txt": half}, {beside: File(b"xx")}):
        with pytest.raises(AssertionError, match="none of 4"):
            settled(allowed, {"a.txt": OLD, **extra})
    with pytest.raises(AssertionError, match="none of 4"):
        settled(allowed, {beside: half})


def test_once_it_was_sealed_nothing_may_stand_beside_the_name() -> None:
    allowed = told(lines(0, 1, 2, 3, 4), {"a.txt": OLD}).allowed
    with pytest.raises(AssertionError, match=r"a \(recovered"):
        settled(allowed, {**allowed[0], "a (recovered 2026-11-24).txt": File(NEW.data)})


def test_a_time_that_nobody_set_is_not_compared_and_a_mode_is() -> None:
    assert differences({"f": File()}, {"f": File(mtime_ns=7)}) == []
    assert differences({"f": File(mtime_ns=6)}, {"f": File(mtime_ns=7)}) != []
    assert differences({"f": File()}, {"f": File(mode=0o600)}) != []
    assert differences({"f": Folder()}, {"f": Folder(0o700)}) != []
    assert differences({"f": Folder()}, {"f": Folder(0o700)}, attributes=False) == []


def test_a_writer_tells_what_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "mnt" / "one").mkdir(parents=True)
    writer = Writer("one", tmp_path, seed=1)
    for _ in range(2):
        before = writer.deeds
        writer.begin(tmp_path / "mnt")
        while not (tmp_path / "one.manifest").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        writer.end(killed=False)
        writer.check(tmp_path / "mnt")
        assert writer.deeds > before
    (tmp_path / "mnt" / "one" / "lost").write_bytes(b"")
    with pytest.raises(AssertionError, match="'lost': expected None"):
        writer.check_elsewhere(tmp_path / "mnt", attributes=True)
