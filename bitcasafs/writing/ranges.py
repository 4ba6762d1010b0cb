"""A set of byte ranges: half-open, disjoint, sorted, adjacent ones joined.

Used for what has been written into a staged file over a base that is not here. No I/O. `add` of n ranges that arrive in
order is O(1) each; out of order O(log n) to find and O(k) to join k neighbours.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in pairs:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._stops, strict=True))

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Ranges({list(self)!r})"

    def add(self, start: int, stop: int) -> None:
        """Join [start, stop) to the set; an empty range changes nothing."""
        if start >= stop:
            return
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def cut(self, size: int) -> None:
        """Forget all at and after `size`."""
        keep = bisect_left(self._starts, size)
        del self._starts[keep:], self._stops[keep:]
        if self._stops and self._stops[-1] > size:
            self._stops[-1] = size

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """[start, stop) from left to right as (start, stop, is in the set), without gaps."""
        position = start
        index = bisect_right(self._stops, start)
        while position < stop:
            if index == len(self._starts) or self._starts[index] >= stop:
                yield position, stop, False
                return
            if self._starts[index] > position:
                yield position, self._starts[index], False
                position = self._starts[index]
            end = min(stop, self._stops[index])
            yield position, end, True
            position = end
            index += 1

    def holes(self, start: int, stop: int) -> list[tuple[int, int]]:
        """What of [start, stop) is not in the set."""
        return [(left, right) for left, right, present in self.pieces(start, stop) if not present]
