"""Where blocking work of the server runs, apart by what it waits for.

Three pools, so that uploads that wait for the one writer of the metadata never keep a listing waiting, nor a slow disk
both. A hop costs about 110 us. Work that was begun is not cancelled: whoever waits for it may give up, it ends itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

READERS = 2
"""Most of the time of a question is Python's own, which one thread has at a time: more of them only take the
interpreter's lock from each other. 16 KiB downloads over 8 connections: 1,200 a second with 8 threads, 1,400 to 2,600
with 2 (2026-11)."""
WRITERS = 8
CONTENT = 8


class Threads:
    """Threads start when they are first needed; `close` waits for what runs."""

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._content = ThreadPoolExecutor(CONTENT, thread_name_prefix="content")

    async def read(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Questions to the metadata."""
        return await _run(self._readers, work, *args, **kwargs)

    async def write(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Changes of the metadata: they wait for each other, and for the disk."""
        return await _run(self._writers, work, *args, **kwargs)

    async def content(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Bytes: hashing, writing, syncing, reading from a disk; and passwords."""
        return await _run(self._content, work, *args, **kwargs)

    def close(self) -> None:
        for pool in (self._readers, self._writers, self._content):
            pool.shutdown()


async def _run(pool: Executor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))
