"""Changes and records for tests of the outbox: builders for tables, strategies for everything that a row may hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from bitcasafs.values.items import Attributes, IdempotencyKey, Version
from bitcasafs.writing.change import Change, ChangeKind, Fields, Record, State
from bitcasafs.writing.index import Index
from tests.support.strategies import INT64, names, odd_versions

numbers = st.integers(1, 2**62)
attributes = st.builds(
    Attributes,
    mode=st.none() | st.integers(0, 0o7777),
    uid=st.none() | st.integers(0, 2**32 - 1),
    gid=st.none() | st.integers(0, 2**32 - 1),
    mtime_ns=st.none() | INT64,
    atime_ns=st.none() | INT64,
    ctime_ns=st.none() | INT64,
    btime_ns=st.none() | INT64,
    symlink=st.none() | st.text(st.characters(codec="utf-8"), max_size=50),
    special=st.none() | st.sampled_from(["fifo", "socket"]),
    xattrs=st.dictionaries(names, st.binary(max_size=30), max_size=3),
)
fields = st.builds(
    Fields,
    parent=st.none() | numbers,
    name=st.none() | names,
    old_parent=st.none() | numbers,
    old_name=st.none() | names,
    over=st.none() | odd_versions,
    over_node=st.none() | numbers,
    exchange=st.booleans(),
    folder=st.booleans(),
    size_bytes=st.none() | st.integers(0, 2**62),
    base_id=st.none() | st.text(st.characters(codec="utf-8"), max_size=88),
    base_bytes=st.integers(0, 2**62),
    base_limit=st.integers(0, 2**62),
    written=st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=4).map(tuple),
    attributes=attributes,
)
changes = st.builds(Change, st.sampled_from(ChangeKind), numbers, st.none() | odd_versions, fields)


def record(number: int, kind: str, node: int, state: str = "ready", **what: Any) -> Record:
    """A record for a table. `at=(folder, name)` and `of=(old folder, old name)` stand for the pairs of fields."""
    parent, name = what.pop("at", (None, None))
    old_parent, old_name = what.pop("of", (None, None))
    unsure = what.pop("unsure", False)
    attempts = what.pop("attempts", 0)
    change = Change(
        ChangeKind(kind),
        node,
        Version("v") if what.pop("base", False) else None,
        Fields(parent=parent, name=name, old_parent=old_parent, old_name=old_name, **what),
    )
    return Record(
        id=number,
        change=change,
        state=State(state),
        generation=1,
        key=IdempotencyKey(f"key-{number:028d}"),
        boot_id="boot",
        synced=False,
        staged=f"{number:08d} staged" if kind == "content" else None,
        attempts=attempts,
        unsure=unsure,
    )


def indexed(*records: Record) -> Index:
    index = Index()
    for one in records:
        index.add(one)
    return index
