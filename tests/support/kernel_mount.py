"""A core behind the real kernel, inside the test's own process: calls of the file system are made in threads.

A call on the test's own thread would wait for the loop that it blocks, so `Mounted.call` is the one way in.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import trio

from bitcasafs.fuse.guard import Guard
from bitcasafs.fuse.operations import KernelOperations
from bitcasafs.fuse.session import Session, SessionOptions, unmount_lazily
from bitcasafs.vfs.filesystem import FileSystem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mounted core. `path` is the mountpoint."""

    path: Path
    session: Session
    guard: Guard

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """In a thread; abandoned when the test is cancelled."""
        return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


@contextlib.asynccontextmanager
async def mounted_core(core: object, mountpoint: Path, **options: object) -> AsyncIterator[Mounted]:
    """`core` has the families of a `FileSystem`. Mounted inside the block, unmounted and closed after it."""
    guard = Guard()
    operations = KernelOperations(cast(FileSystem, core), guard)
    session = Session(operations, SessionOptions(mountpoint, "test", **options))  # type: ignore[arg-type]
    session.open()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(session.run)
            yield Mounted(mountpoint, session, guard)
            await unmount_lazily(mountpoint)
            session.end()
    finally:
        session.close()
