"""What goes when: a table of cases, and whole histories that are played in any order that the rules allow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitcasafs.writing.change import ChangeKind, Record, State
from bitcasafs.writing.index import Index
from bitcasafs.writing.order import sendable, stuck
from tests.support.changes import indexed, record

ROOT, D, E = 1, 2, 3
OTHERS = 64


def going(*records: Record, slots: int = 9, open_nodes: Iterable[int] = (), not_yet: Iterable[int] = ()) -> set[int]:
    index = indexed(*records)
    chosen = sendable(
        index.ready(contents=True),
        index.ready(contents=False),
        index,
        held=lambda one: one.change.node in set(open_nodes),
        slots=slots,
        others_slots=OTHERS,
        not_yet=frozenset(not_yet),
    )
    assert len(chosen) == len({one.id for one in chosen})
    return {one.id for one in chosen}


CASES = {
    "independent changes go together": (
        [record(1, "content", 10, at=(ROOT, "a")), record(2, "mkdir", 11, at=(ROOT, "b"))],
        {1, 2},
    ),
    "a child waits for its new folder": (
        [record(1, "mkdir", 10, at=(ROOT, "d")), record(2, "content", 11, at=(10, "a"))],
        {1},
    ),
    "a child waits for its new folder that is on its way": (
        [record(1, "mkdir", 10, "sending", at=(ROOT, "d")), record(2, "content", 11, at=(10, "a"))],
        set(),
    ),
    "a name is given up before it is taken": (
        [record(1, "delete", 10, of=(ROOT, "a")), record(2, "content", 11, at=(ROOT, "a"))],
        {1},
    ),
    "a move gives up a name before it is taken": (
        [record(1, "move", 10, of=(ROOT, "a"), at=(ROOT, "b")), record(2, "content", 11, at=(ROOT, "a"))],
        {1},
    ),
    "a move waits for the file that it carries": (
        [record(1, "content", 10, at=(ROOT, "a")), record(2, "move", 10, of=(ROOT, "a"), at=(ROOT, "b"))],
        {1},
    ),
    "a move does not wait for new content of an old file that somebody writes to": (
        [record(1, "content", 10, "open"), record(2, "move", 10, of=(ROOT, "a"), at=(ROOT, "b"))],
        {2},
    ),
    "content does not start while its file is moved": (
        [record(1, "content", 10), record(2, "move", 10, "sending", of=(ROOT, "a"), at=(ROOT, "b"))],
        set(),
    ),
    "a move does not start while content is on its way": (
        [record(1, "content", 10, "sending"), record(2, "move", 10, of=(ROOT, "a"), at=(ROOT, "b"))],
        set(),
    ),
    "content does not start while its file is exchanged with another": (
        [
            record(1, "content", 11),
            record(2, "move", 10, "sending", of=(ROOT, "a"), at=(ROOT, "b"), over_node=11, exchange=True),
        ],
        set(),
    ),
    "content of a file that is unlinked waits for the unlink, which does not wait for it": (
        [record(1, "content", 10), record(2, "delete", 10, of=(ROOT, "a"))],
        {2},
    ),
    "content of a file that is renamed over waits for the rename, which does not wait for it": (
        [
            record(1, "content", 10, at=(ROOT, "b")),
            record(2, "move", 11, of=(ROOT, "a"), at=(ROOT, "b"), over_node=10),
        ],
        {2},
    ),
    "content waits until it is known whether its file was moved": (
        [record(1, "content", 10), record(2, "move", 10, of=(ROOT, "a"), at=(ROOT, "b"), unsure=True)],
        {2},
    ),
    "content of a file that a rename may have replaced waits until that is known": (
        [
            record(1, "content", 10, at=(ROOT, "b")),
            record(2, "move", 11, of=(ROOT, "a"), at=(ROOT, "b"), over_node=10, unsure=True),
        ],
        set(),
        {"not_yet": {2}},
    ),
    "an unlink waits for content that is on its way": (
        [record(1, "content", 10, "sending"), record(2, "delete", 10, of=(ROOT, "a"))],
        set(),
    ),
    "a folder is deleted after all that is done in it": (
        [
            record(1, "delete", 10, of=(D, "a")),
            record(2, "move", 11, of=(D, "b"), at=(ROOT, "b")),
            record(3, "delete", D, of=(ROOT, "d"), folder=True),
        ],
        {1, 2},
    ),
    "a file that is open for writing waits for its close": (
        [record(1, "content", 10), record(2, "content", 11)],
        {1},
        {"open_nodes": {11}},
    ),
    "what has just failed waits, and newer content of the file behind it": (
        [record(1, "content", 10), record(2, "content", 10), record(3, "content", 11)],
        {3},
        {"not_yet": {1}},
    ),
    "newer content passes what the portal refused": (
        [record(1, "content", 10, "problem", at=(ROOT, "a")), record(2, "content", 10, at=(ROOT, "a"))],
        {2},
    ),
    "a problem holds back what is in its folder": (
        [record(1, "mkdir", 10, "problem", at=(ROOT, "d")), record(2, "content", 11, at=(10, "a"))],
        set(),
    ),
    "a problem does not hold back another file of its name, nor its neighbours": (
        [
            record(1, "delete", 10, "problem", of=(ROOT, "a")),
            record(2, "content", 11, at=(ROOT, "a")),
            record(3, "content", 12, at=(ROOT, "b")),
        ],
        {2, 3},
    ),
    "a problem in a folder leaves it to the portal whether the folder is empty": (
        [record(1, "delete", 10, "problem", of=(D, "a")), record(2, "delete", D, of=(ROOT, "d"), folder=True)],
        {2},
    ),
    "attributes follow what is unsent of the file": (
        [record(1, "content", 10, "sending"), record(2, "attributes", 10)],
        set(),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_goes_when(case: tuple[Any, ...]) -> None:
    records, wanted, *how = case
    assert going(*records, **(how[0] if how else {})) == wanted


def test_contents_fill_the_slots_and_small_changes_go_beside_them() -> None:
    contents = [record(number, "content", number, at=(ROOT, f"f{number}")) for number in range(10, 20)]
    folder = record(50, "mkdir", 50, at=(ROOT, "d"))
    assert going(*contents, folder, slots=3) == {10, 11, 12, 50}
    assert going(*contents, folder, slots=0) == {50}


def test_one_look_starts_a_bounded_number() -> None:
    folders = [record(number, "mkdir", number, at=(ROOT, f"d{number}")) for number in range(10, 500)]
    assert going(*folders) == set(range(10, 10 + OTHERS))


# --- histories --------------------------------------------------------------------------------------------------------


@dataclass
class History:
    """A tree as its users change it, and the changes as a queue that nobody has sent yet."""

    places: dict[tuple[int, str], int] = field(
        default_factory=lambda: {(ROOT, "d"): D, (ROOT, "e"): E, (ROOT, "a"): 4, (D, "a"): 5, (E, "b"): 6}
    )
    folders: set[int] = field(default_factory=lambda: {ROOT, D, E})
    records: list[Record] = field(default_factory=list)
    nodes: int = 9

    def add(self, kind: str, node: int, **what: Any) -> None:
        self.records.append(record(len(self.records) + 1, kind, node, **what))

    def empty(self, folder: int) -> bool:
        return not any(parent == folder for parent, _ in self.places)

    def above(self, folder: int, node: int) -> bool:
        while folder != ROOT:
            if folder == node:
                return True
            folder = next(parent for (parent, _), child in self.places.items() if child == folder)
        return False

    def step(self, what: str, first: int, second: int, name: str) -> None:
        """One call of a user, on places that numbers choose; what a file system would refuse does nothing."""
        spots = sorted(self.places)
        folders = sorted(self.folders)
        at = folders[first % len(folders)], name
        spot = spots[second % len(spots)] if spots else None
        if what in ("create", "mkdir"):
            if at not in self.places:
                self.nodes += 1
                self.places[at] = self.nodes
                if what == "mkdir":
                    self.folders.add(self.nodes)
                self.add("content" if what == "create" else "mkdir", self.nodes, at=at)
            return
        if spot is None:
            return
        node = self.places[spot]
        if what in ("write", "chmod"):
            new = any(one.change.node == node and one.places for one in self.records)
            if node not in self.folders and not new:
                self.add("content" if what == "write" else "attributes", node)
        elif what == "remove":
            if node not in self.folders or self.empty(node):
                self.add("delete", node, of=spot, folder=node in self.folders)
                del self.places[spot]
                self.folders.discard(node)
        else:
            self.move(node, spot, at, exchange=what == "exchange")

    def move(self, node: int, spot: tuple[int, str], at: tuple[int, str], *, exchange: bool) -> None:
        other = self.places.get(at)
        if other == node or self.above(at[0], node) or (other is not None and self.above(spot[0], other)):
            return
        if exchange:
            if other is not None:
                self.add("move", node, of=spot, at=at, over_node=other, exchange=True)
                self.places[spot], self.places[at] = other, node
            return
        if other is not None and ((other in self.folders) != (node in self.folders) or not self.empty(other)):
            return
        self.add("move", node, of=spot, at=at, over_node=other)
        if other is not None:
            self.folders.discard(other)
        del self.places[spot]
        self.places[at] = node


@dataclass
class Portal:
    """Carries out changes one by one; says what it cannot do by an assertion."""

    places: dict[tuple[int, str], int]
    folders: set[int]
    content: dict[int, int] = field(default_factory=dict)

    def apply(self, index: Index, one: Record) -> None:
        change, fields = one.change, one.change.fields
        old: Any = fields.old_parent, fields.old_name
        new: Any = fields.parent, fields.name
        gone = None
        match change.kind:
            case ChangeKind.MKDIR:
                assert new[0] in self.folders and new not in self.places
                self.places[new] = change.node
                self.folders.add(change.node)
            case ChangeKind.CONTENT:
                if one.places:
                    assert new[0] in self.folders and new not in self.places
                    self.places[new] = change.node
                assert change.node in self.places.values()
                assert self.content.get(change.node, 0) < one.id
                self.content[change.node] = one.id
            case ChangeKind.ATTRIBUTES:
                assert change.node in self.places.values()
            case ChangeKind.DELETE:
                assert self.places.pop(old, change.node) == change.node
                assert not any(parent == change.node for parent, _ in self.places)
                gone = change.node
            case ChangeKind.MOVE if fields.exchange:
                assert (self.places[old], self.places[new]) == (change.node, fields.over_node)
                self.places[old], self.places[new] = self.places[new], self.places[old]
            case ChangeKind.MOVE:
                assert new[0] in self.folders
                assert self.places.pop(old) == change.node
                assert new not in self.places or self.places[new] == fields.over_node
                self.places[new] = change.node
                gone = fields.over_node
        for moot in index.of_node(gone) if gone is not None else ():
            if moot.id != one.id and moot.change.kind in (ChangeKind.CONTENT, ChangeKind.ATTRIBUTES):
                assert moot.state is not State.SENDING
                index.take(moot.id)


def contents_sending(index: Index) -> int:
    return sum(one.state is State.SENDING and one.change.kind is ChangeKind.CONTENT for one in index.records.values())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "mkdir", "write", "chmod", "remove", "move", "move", "exchange"]),
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from("abd"),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


@given(STEPS, st.integers(1, 3), st.integers(0, 2**32).map(Random))
@settings(max_examples=400)
def test_any_allowed_order_of_any_history_ends_in_the_tree_that_its_users_see(
    steps: list[tuple[str, int, int, str]], slots: int, random: Random
) -> None:
    history = History()
    portal = Portal(dict(history.places), set(history.folders))
    for step in steps:
        history.step(*step)
    index = indexed(*history.records)
    failed: set[int] = set()
    while index.records:
        chosen = sendable(
            index.ready(contents=True),
            index.ready(contents=False),
            index,
            held=lambda _: False,
            slots=slots - contents_sending(index),
            others_slots=OTHERS,
            not_yet=failed,
        )
        for one in chosen:
            index.replace(replace(one, state=State.SENDING))
        on_their_way = [one for one in index.records.values() if one.state is State.SENDING]
        assert on_their_way or failed, f"nothing moves: {list(index.records.values())}"
        nodes = [one.change.node for one in on_their_way]
        assert len(nodes) == len(set(nodes)), "two changes of one node at once"
        assert contents_sending(index) <= slots
        failed.clear()
        if on_their_way:
            one = random.choice(on_their_way)
            if random.random() < 0.2:
                index.replace(replace(one, state=State.READY))
                failed.add(one.id)
            else:
                index.take(one.id)
                portal.apply(index, one)
    assert portal.places == history.places


@given(STEPS, st.integers(0, 13))
def test_what_waits_for_a_problem_is_stuck_and_everything_else_is_sent(
    steps: list[tuple[str, int, int, str]], refused: int
) -> None:
    history = History()
    for step in steps:
        history.step(*step)
    index = indexed(*history.records)
    if refused in index.records:
        index.replace(replace(index.records[refused], state=State.PROBLEM))
    waits = {one.id for one in index.records.values() if stuck(one, index)}
    while chosen := sendable(
        index.ready(contents=True),
        index.ready(contents=False),
        index,
        held=lambda _: False,
        slots=9,
        others_slots=OTHERS,
    ):
        for one in chosen:
            index.take(one.id)
    assert set(index.records) == waits
