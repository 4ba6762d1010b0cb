"""What to send next: a pure function of the records.

A record goes when nothing unsent holds it back. It is held back by an older record of the same node, of a node that it
names (its folders, what it replaces) or at a name that it takes or gives up, and by any that is on its way there, or
may have arrived without an answer. A folder is deleted only after all that older records do in it. So children wait for
their new folder, a name is given up before it is taken, and independent records go in parallel. Three exceptions:

- New content of a file that is on the portal goes wherever the file is by then: while it waits (a file may stay open
  for days) it holds back nothing but newer content.
- Content and attributes of a file that a change is about to take away (unlink, rename over it) wait for that change
  and do not hold it back: when the change is refused they are still there.
- A problem holds back what names its node, and nothing else: not the names it would have taken, not newer content.

The cost of a look is that of the records that may go, not of all that wait: ten thousand pending files must not cost
each further one a walk through all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from bitcasafs.writing.change import ChangeKind, Number, Record, State


class Unsent(Protocol):
    """All unsent records, found by what they concern; each sequence oldest first."""

    def of_node(self, node: Number) -> Sequence[Record]: ...

    def naming(self, node: Number) -> Iterable[Record]:
        """Records that name `node` as one of their folders, or as what they replace."""
        ...

    def at_place(self, folder: Number, name: str) -> Sequence[Record]: ...


def sendable(
    contents: Iterable[Record],
    others: Iterable[Record],
    unsent: Unsent,
    *,
    held: Callable[[Record], bool],
    slots: int,
    others_slots: int,
    not_yet: Collection[int] = frozenset(),
) -> list[Record]:
    """READY records that may be sent now: up to `slots` of `contents`, and beside them up to `others_slots` of
    `others`, so that a mkdir never waits behind large files. Both oldest first.

    `held`: a handle may still write to that content, or it is likely to change in a moment. `not_yet`: ids whose
    back-off has not passed.
    """
    chosen: list[Record] = []
    going: set[int] = set()

    def choose(record: Record) -> bool:
        if record.id in not_yet or held(record) or next(obstacles(record, unsent, going), None) is not None:
            return False
        chosen.append(record)
        going.add(record.id)
        return True

    for records, most in ((contents, slots), (others, others_slots)):
        left = most
        if left > 0:
            for record in records:
                left -= choose(record)
                if left <= 0:
                    break
    return chosen


def obstacles(record: Record, unsent: Unsent, going: Collection[int] = ()) -> Iterator[Record]:
    """The unsent records that hold `record` back; `going` are about to be sent."""

    def under_way(other: Record) -> bool:
        perhaps_done = other.unsure and (other.id < record.id or not record.unsure)
        return other.state is State.SENDING or other.id in going or perhaps_done

    def before(other: Record) -> bool:
        return other.id < record.id or under_way(other)

    def about_to_take(other: Record) -> bool:
        # While something else holds that one back, this one goes: that something may wait for it.
        return _takes_away(other, record) and (under_way(other) or next(obstacles(other, unsent, going), None) is None)

    for other in unsent.of_node(record.change.node):
        waits = under_way(other) or (other.id < record.id and not _gives_way(other, record))
        if other.id != record.id and (waits or about_to_take(other)):
            yield other
    for number in record.named:
        for other in unsent.of_node(number):
            passed = other.change.kind is ChangeKind.CONTENT or _takes_away(record, other)
            # A folder that is made again, since it was gone, is younger than what waits for it.
            makes_folder = other.change.kind is ChangeKind.MKDIR
            if under_way(other) or makes_folder or (other.id < record.id and not passed):
                yield other
    for place in record.places:
        for other in unsent.at_place(*place):
            if other.change.node == record.change.node or not before(other) or other.state is State.PROBLEM:
                continue
            if under_way(other) or not _takes_away(record, other):
                yield other
    for other in _naming(record, unsent):
        if other.state is not State.PROBLEM and (before(other) or about_to_take(other)):
            yield other


def _naming(record: Record, unsent: Unsent) -> Iterable[Record]:
    """The records whose naming of this one's node matters to it."""
    node = record.change.node
    match record.change.kind:
        case ChangeKind.DELETE if record.change.fields.folder:
            return unsent.naming(node)
        case ChangeKind.CONTENT | ChangeKind.ATTRIBUTES:
            return (other for other in unsent.naming(node) if other.change.fields.over_node == node)
        case _:
            return ()


def _gives_way(older: Record, record: Record) -> bool:
    """Of one node: `older`, which waits, lets the other pass."""
    if _takes_away(record, older):
        return True
    if older.change.kind is not ChangeKind.CONTENT:
        return False
    if record.change.kind is ChangeKind.CONTENT:
        return older.state is State.PROBLEM
    return not older.places


def _takes_away(change: Record, moot: Record) -> bool:
    """`change` removes the node that `moot` gives content or attributes to."""
    if moot.change.kind not in (ChangeKind.CONTENT, ChangeKind.ATTRIBUTES) or change.state is State.PROBLEM:
        return False
    if change.change.kind is ChangeKind.DELETE:
        return change.change.node == moot.change.node
    fields = change.change.fields
    return change.change.kind is ChangeKind.MOVE and fields.over_node == moot.change.node and not fields.exchange


def stuck(record: Record, unsent: Unsent) -> bool:
    """Nothing will send it before somebody decides about a problem: it is one, or waits for one."""
    seen: set[int] = set()
    found = [record]
    while found:
        one = found.pop()
        if one.state is State.PROBLEM:
            return True
        if one.id not in seen:
            seen.add(one.id)
            found.extend(obstacles(one, unsent))
    return False
