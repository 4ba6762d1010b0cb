"""The vfs beside a dict: random sequences of operations, results compared one by one, then the whole tree here, on
another machine, and on a machine that was killed and started again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bitcasafs import errors
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.drive_model import DriveModel
from tests.support.machine import Machine, machine

PATHS = st.sampled_from(["/a", "/b", "/d", "/d/a", "/d/b", "/d/e", "/d/e/a", "/f"])
DATA = st.binary(max_size=40)

STEPS = st.one_of(
    st.tuples(st.just("write"), PATHS, DATA),
    st.tuples(st.just("patch"), PATHS, st.integers(0, 60), DATA),
    st.tuples(st.just("append"), PATHS, DATA),
    st.tuples(st.just("truncate"), PATHS, st.integers(0, 60)),
    st.tuples(st.just("mkdir"), PATHS),
    st.tuples(st.just("unlink"), PATHS),
    st.tuples(st.just("rmdir"), PATHS),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("read"), PATHS),
    st.tuples(st.just("settle")),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


class Real:
    """The same operations on a machine."""

    def __init__(self, one: Machine) -> None:
        self.one = one

    async def write(self, path: str, data: bytes) -> None:
        await self.one.write(path, data)

    async def patch(self, path: str, offset: int, data: bytes) -> None:
        await self.one.write(path, data, offset=offset, flags=0)

    async def append(self, path: str, data: bytes) -> None:
        await self.one.write(path, data, flags=os.O_APPEND)

    async def truncate(self, path: str, size: int) -> None:
        node = self.one.fs.nodes[(await self.one.find(path)).number]
        await self.one.fs.files.resize(node, size)

    async def mkdir(self, path: str) -> None:
        await self.one.mkdir(path)

    async def unlink(self, path: str) -> None:
        await self.one.unlink(path)

    async def rmdir(self, path: str) -> None:
        await self.one.rmdir(path)

    async def rename(self, old: str, new: str) -> None:
        await self.one.rename(old, new)

    async def read(self, path: str) -> bytes:
        return await self.one.read(path)


async def outcome(call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    try:
        return await call(*arguments)
    except FileNotFoundError:
        return errors.NotFound
    except errors.BitcasaError as error:
        return type(error)


async def play(steps: list[tuple[Any, ...]], historical: bool, folder: Path) -> None:
    remote = MemoryRemote(MemoryDrive(), historical=historical)
    model = DriveModel()

    async def expected(name: str, *arguments: Any) -> Any:
        return getattr(model, name)(*arguments)

    async with machine(remote, folder / "one", ttl_seconds=5) as one:
        real = Real(one)
        for name, *arguments in steps:
            if name == "settle":
                await one.drained()
            elif name == "wait":
                await trio.sleep(arguments[0])
            else:
                wanted = await outcome(expected, name, *arguments)
                assert await outcome(getattr(real, name), *arguments) == wanted, (name, arguments)
        assert await one.tree() == model.tree
    # Killed: another process takes over the outbox.
    async with machine(remote, folder / "one") as again, machine(remote, folder / "two") as two:
        assert await again.tree() == model.tree
        await again.drained()
        assert not list(again.fs.problems())
        assert await again.tree() == model.tree
        assert await two.tree() == model.tree
        assert list((folder / "one" / "staged").iterdir()) == []


def run(steps: list[tuple[Any, ...]], historical: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(play, steps, historical, Path(folder), clock=trio.testing.MockClock(autojump_threshold=0))


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=150)
def test_random_operations_give_what_a_dict_gives(steps: list[tuple[Any, ...]]) -> None:
    run(steps, historical=False)


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=100)
def test_random_operations_on_a_historical_portal_give_the_same(steps: list[tuple[Any, ...]]) -> None:
    run(steps, historical=True)
