"""Contents that requests are about to name, so that nobody removes them in that moment.

A content is durable before the row that names it; in between nothing refers to it, and equal bytes that came earlier
may just be due for removal. Whoever stores takes a claim before `keep` and gives it back after its rows are committed;
whoever removes asks here, and what is claimed stays. One server process a data folder makes a lock in memory enough.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence


class Claims:
    """Blocks while a removal runs: a question to the metadata and some unlinks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: Counter[bytes] = Counter()

    @contextlib.contextmanager
    def hold(self, digests: Iterable[bytes]) -> Iterator[None]:
        held = set(digests)
        with self._lock:
            self._claimed.update(held)
        try:
            yield
        finally:
            with self._lock:
                self._claimed.subtract(held)
                for digest in held:
                    if self._claimed[digest] <= 0:
                        del self._claimed[digest]

    def remove(
        self,
        digests: Sequence[bytes],
        unreferenced: Callable[[Sequence[bytes]], set[bytes]],
        remove: Callable[[bytes], None],
    ) -> set[bytes]:
        """Remove those of `digests` that nobody claims and no row names; answers which."""
        with self._lock:
            gone = unreferenced([digest for digest in digests if digest not in self._claimed])
            for digest in gone:
                remove(digest)
            return gone
