"""The unsent changes in memory, found by what they concern. `order.Unsent` is what the order sees of it.

Who uses it: the outbox, which keeps it equal to what is on disk. Ids ascend in every list. Adding and taking out cost
O(log n) and a memmove, so ten thousand pending changes of one folder cost a further one nothing that is felt.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from bitcasafs.writing.change import ChangeKind, Number, Record, State

K = TypeVar("K")
T = TypeVar("T", int, tuple[int, int])


class Index:
    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.states: Counter[State] = Counter()
        self.local = 0
        """Those that stay on this machine; no other count has them."""
        self.waiting_bytes = 0
        """Content of all that is no problem."""
        self.unsynced: set[int] = set()
        """Sealed content that a power cut could take."""
        self.perhaps_synced: set[str] = set()
        """Staged files that were ever noted as synced; only `Contents` takes them out."""
        self._made: list[tuple[int, int]] = []
        """When each was made that is no problem, where that is known, and its id."""
        self._ready: dict[bool, list[int]] = {True: [], False: []}
        """READY: contents, and others."""
        self._by_node: dict[Number, list[int]] = {}
        self._by_named: dict[Number, list[int]] = {}
        self._by_over: dict[Number, list[int]] = {}
        self._by_place: dict[Number, dict[str, list[int]]] = {}

    # --- finding --------------------------------------------------------------------------------------------------

    def of_node(self, node: Number) -> list[Record]:
        return [self.records[number] for number in self._by_node.get(node, ())]

    def naming(self, node: Number) -> Iterator[Record]:
        return (self.records[number] for number in self._by_named.get(node, ()))

    def taking(self, node: Number) -> list[Record]:
        return [self.records[number] for number in self._by_over.get(node, ())]

    def at_place(self, folder: Number, name: str) -> list[Record]:
        return [self.records[number] for number in self._by_place.get(folder, {}).get(name, ())]

    def names_in(self, folder: Number) -> list[str]:
        return list(self._by_place.get(folder, ()))

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest change was made that is no problem."""
        return self._made[0][0] if self._made else None

    def ready(self, *, contents: bool) -> Iterator[Record]:
        return (self.records[number] for number in self._ready[contents])

    # --- keeping --------------------------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        self.records[record.id] = record
        self._link(record)
        self._count(record, 1)

    def replace(self, record: Record) -> None:
        """Another record of an id that is there."""
        before = self.records[record.id]
        moved = (before.change.node, before.named, before.places) != (record.change.node, record.named, record.places)
        self._count(before, -1)
        if moved:
            self._unlink(before)
        self.records[record.id] = record
        if moved:
            self._link(record)
        self._count(record, 1)

    def take(self, number: int) -> Record:
        record = self.records.pop(number)
        self._unlink(record)
        self._count(record, -1)
        return record

    def _link(self, record: Record) -> None:
        insort(self._by_node.setdefault(record.change.node, []), record.id)
        for number in record.named:
            insort(self._by_named.setdefault(number, []), record.id)
        if record.change.fields.over_node is not None:
            insort(self._by_over.setdefault(record.change.fields.over_node, []), record.id)
        for folder, name in record.places:
            insort(self._by_place.setdefault(folder, {}).setdefault(name, []), record.id)

    def _unlink(self, record: Record) -> None:
        _take_out(self._by_node, record.change.node, record.id)
        for number in record.named:
            _take_out(self._by_named, number, record.id)
        if record.change.fields.over_node is not None:
            _take_out(self._by_over, record.change.fields.over_node, record.id)
        for folder, name in record.places:
            names = self._by_place[folder]
            _take_out(names, name, record.id)
            if not names:
                del self._by_place[folder]

    def _count(self, record: Record, one: int) -> None:
        contents = record.change.kind is ChangeKind.CONTENT
        local = record.change.fields.local
        if local:
            self.local += one
        else:
            self.states[record.state] += one
        if record.state is not State.PROBLEM and not local:
            self.waiting_bytes += one * (record.change.fields.size_bytes or 0)
            if record.made_ns:
                _put_or_take(self._made, (record.made_ns, record.id), one)
        if record.staged is not None and record.generation and record.state is not State.OPEN and not record.synced:
            (self.unsynced.add if one > 0 else self.unsynced.discard)(record.id)
        if record.synced and record.staged is not None:
            self.perhaps_synced.add(record.staged)
        if record.state is State.READY and not local:
            _put_or_take(self._ready[contents], record.id, one)


def _put_or_take(ordered: list[T], what: T, one: int) -> None:
    if one > 0:
        insort(ordered, what)
    else:
        del ordered[bisect_left(ordered, what)]


def _take_out(index: dict[K, list[int]], key: K, number: int) -> None:
    numbers = index[key]
    del numbers[bisect_left(numbers, number)]
    if not numbers:
        del index[key]
