"""Contents on their way to the portal, and their being stopped for whoever writes to one of them.

Who uses: the scheduler tells what it sends and how far that is; `Contents` stops a sending rather than copy a large
file. A portal takes a content whole or not at all: while not all of its bytes are sent it cannot have taken effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from bitcasafs.errors import Unavailable
from bitcasafs.writing.change import Record

MOST_STOPS = 2
"""The third time a busy file is copied: it must reach the portal too."""


class Stopped(Unavailable):
    """The sending was stopped for a writer."""


class Way:
    """One sending. `complete`: all bytes were sent, by this try or an earlier one: the portal may have it."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self.scope = trio.CancelScope()
        self.complete = False

    def note(self, sent_bytes: int) -> None:
        self.complete = self.complete or sent_bytes >= self._size_bytes

    @property
    def stopped(self) -> Stopped:
        """What became of it when it was stopped."""
        return Stopped("the file was written again while it was sent", applied=None if self.complete else False)


class UnderWay:
    """Nothing here waits."""

    def __init__(self) -> None:
        self._ways: dict[int, Way] = {}
        self._stops: Counter[int] = Counter()
        self._wanted: Counter[int] = Counter()

    @contextmanager
    def sending(self, record: Record) -> Iterator[Way]:
        """What is sent inside may be stopped: then the block ends without an error; its outcome is `Way.stopped`."""
        way = self._ways[record.id] = Way(record.change.fields.size_bytes or 0)
        try:
            with way.scope:
                yield way
        finally:
            del self._ways[record.id]

    @contextmanager
    def stopping(self, number: int) -> Iterator[None]:
        """Stop the sending of a record (that `may_stop`), and keep it from being chosen again inside."""
        self._stops[number] += 1
        self._wanted[number] += 1
        self._ways[number].scope.cancel()
        try:
            yield
        finally:
            self._wanted[number] -= 1
            if not self._wanted[number]:
                del self._wanted[number]

    def may_stop(self, number: int) -> bool:
        """It is on its way, surely not on the portal, and was not stopped too often."""
        way = self._ways.get(number)
        return way is not None and not way.complete and self._stops.get(number, 0) < MOST_STOPS

    def is_wanted(self, number: int) -> bool:
        """Somebody is about to take it back."""
        return self._wanted.get(number, 0) > 0

    def forget(self, number: int) -> None:
        """The record is gone."""
        self._stops.pop(number, None)
