"""The index beside a list that is searched from end to end."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.writing.change import ChangeKind, Record, State
from bitcasafs.writing.index import Index
from tests.support.changes import record

FOLDERS, NAMES = st.integers(1, 3), st.sampled_from("ab")
PLACES = st.none() | st.tuples(FOLDERS, NAMES)
RECORDS = st.builds(
    lambda number, kind, node, state, at, of, over, size: record(
        number, kind, node, state, at=at or (None, None), of=of or (None, None), over_node=over, size_bytes=size
    ),
    st.integers(1, 12),
    st.sampled_from([kind.value for kind in ChangeKind]),
    st.integers(1, 4),
    st.sampled_from([state.value for state in State]),
    PLACES,
    PLACES,
    st.none() | st.integers(1, 4),
    st.none() | st.integers(0, 100),
)


def is_content(one: Record) -> bool:
    return one.change.kind is ChangeKind.CONTENT


def check(index: Index, records: dict[int, Record]) -> None:
    in_order = [records[number] for number in sorted(records)]
    for node in range(5):
        assert index.of_node(node) == [one for one in in_order if one.change.node == node]
        assert list(index.naming(node)) == [one for one in in_order if node in one.named]
        assert set(index.names_in(node)) == {name for one in in_order for folder, name in one.places if folder == node}
        for name in "ab":
            assert index.at_place(node, name) == [one for one in in_order if (node, name) in one.places]
    for contents in (True, False):
        ready = [one for one in in_order if one.state is State.READY and is_content(one) is contents]
        assert list(index.ready(contents=contents)) == ready
    assert {state: n for state, n in index.states.items() if n} == Counter(one.state for one in records.values())
    assert index.waiting_bytes == sum(
        one.change.fields.size_bytes or 0 for one in records.values() if one.state is not State.PROBLEM
    )


@given(st.lists(RECORDS | st.integers(1, 12), max_size=30))
def test_every_list_and_sum_is_right_after_every_change(steps: list[Record | int]) -> None:
    """A record is added, or replaces that of its id; a number is taken out."""
    index, records = Index(), dict[int, Record]()
    for step in steps:
        if isinstance(step, Record):
            if step.id in records:
                index.replace(step)
            else:
                index.add(step)
            records[step.id] = step
        elif step in records:
            assert index.take(step) == records.pop(step)
        check(index, records)
