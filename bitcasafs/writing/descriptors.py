"""Open descriptors of staged files: few at a time, however many files wait.

A process may have 1,024 open files by default, and tens of thousands of files wait to be sent after a large copy. So a
staged file is opened when it is used, and the one that was used longest ago is closed for it. What a thread works on,
and what has no name any more, is pinned: it stays open.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, OrderedDict
from collections.abc import Iterator
from pathlib import Path

MOST = 200
"""Pinned ones come on top; with the handles of users' files a default limit of 1,024 is never reached."""


class Descriptors:
    """Not safe for threads: descriptors are handed to a thread under `pinned`."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._pins: Counter[Path] = Counter()
        self._ended: set[Path] = set()

    def __len__(self) -> int:
        return len(self._open)

    def create(self, path: Path) -> int:
        """FileExistsError: two contents must never share a file. A folder that somebody removed is made again."""
        try:
            return self._opened(path, os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._opened(path, os.O_CREAT | os.O_EXCL)

    def of(self, path: Path) -> int:
        """The descriptor of a file that is there. FileNotFoundError: somebody removed it."""
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        return self._opened(path, 0)

    def _opened(self, path: Path, flags: int) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        self._open[path] = descriptor
        if len(self._open) > self._most:
            oldest = next((other for other in self._open if other not in self._pins), path)
            if oldest != path:
                os.close(self._open.pop(oldest))
        return descriptor

    def keep(self, path: Path) -> None:
        """Stay open until `end`: the file is about to lose its name."""
        self.of(path)
        self._pins[path] += 1

    @contextlib.contextmanager
    def pinned(self, path: Path) -> Iterator[int]:
        """The descriptor, which stays open inside, whoever ends the file meanwhile."""
        self.keep(path)
        try:
            yield self._open[path]
        finally:
            self._unpin(path)

    def end(self, path: Path) -> None:
        """Nobody uses the file any more, but for a thread that still does. Idempotent."""
        self._ended.add(path)
        self._close_ended(path)

    def end_kept(self, path: Path) -> None:
        """The same for what was given to `keep`."""
        self._unpin(path)
        self.end(path)

    def close(self) -> None:
        """All of them."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._pins.clear()
        self._ended.clear()

    def _unpin(self, path: Path) -> None:
        if self._pins[path] > 1:
            self._pins[path] -= 1
        else:
            del self._pins[path]
        if path in self._ended:
            self._close_ended(path)

    def _close_ended(self, path: Path) -> None:
        if not self._pins.get(path):
            self._ended.discard(path)
            descriptor = self._open.pop(path, None)
            if descriptor is not None:
                os.close(descriptor)
