"""A core behind the real kernel, inside the test's own process: calls of the file system are made in threads.

A call on the test's own thread would wait for the loop that it blocks, so `Mounted.call` is the one way in.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import trio

from bitcasafs.fuse.guard import Guard
from bitcasafs.fuse.operations import KernelOperations
from bitcasafs.fuse.session import Session, SessionOptions, unmount_lazily
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.vfs.filesystem import FileSystem
from tests.support.machine import machine

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
async def mounted_core(
    core: object, mountpoint: Path, make: type[KernelOperations] = KernelOperations, **options: object
) -> AsyncIterator[Mounted]:
    """`core` has the families of a `FileSystem`. Mounted inside the block, unmounted and closed after it."""
    guard = Guard()
    operations = make(cast(FileSystem, core), guard)
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


class Refusing:
    """A core, one of whose calls raises `error`."""

    def __init__(self, core: object, family: str, call: str, error: Exception) -> None:
        self._core, self._family = core, family
        self._with = _Family(getattr(core, family), call, error)

    def __getattr__(self, name: str) -> object:
        return self._with if name == self._family else getattr(self._core, name)


class _Family:
    def __init__(self, calls: object, call: str, error: Exception) -> None:
        self._calls, self._call, self._error = calls, call, error

    def __getattr__(self, name: str) -> object:
        return self._refuse if name == self._call else getattr(self._calls, name)

    async def _refuse(self, *arguments: object) -> None:
        raise self._error


@contextlib.asynccontextmanager
async def drive(folder: Path) -> AsyncIterator[Mounted]:
    """A mounted, empty drive."""
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    remote = MemoryRemote(MemoryDrive())
    async with machine(remote, folder / "state") as one, mounted_core(one.fs, mountpoint) as mounted:
        yield mounted


def errno_of(function: object, *arguments: object) -> int | None:
    """What a call fails with; None when it does not."""
    try:
        function(*arguments)  # type: ignore[operator]
    except OSError as error:
        return error.errno
    return None


async def run(*command: str | os.PathLike[str]) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        [os.fspath(word) for word in command], check=False, capture_stdout=True, capture_stderr=True
    )
