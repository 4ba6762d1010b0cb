"""Partial writes while the portal is away: refused when the file is opened, unless all of it is here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import Unreachable
from bitcasafs.reading.blocks import Blocks
from bitcasafs.reading.eviction import Limits
from bitcasafs.remote.interface import ContentRef, Sink
from bitcasafs.values.items import Address, Listing, Profile
from bitcasafs.vfs.entry import Wanted
from bitcasafs.vfs.filling import BEGIN_SECONDS
from tests.support.machine import Machine, machine
from tests.support.scripted import ScriptedRemote, away

BASE = b"what was there before " * 100


class Portal(ScriptedRemote):
    """With an off switch; counts what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles = 0

    def turn_off(self) -> None:
        self.off = True
        self.otherwise = lambda _: away()

    def turn_on(self) -> None:
        self.off = False
        self.otherwise = lambda _: None

    off = False

    def _answer(self) -> None:
        if self.off:
            raise away()

    async def profile(self) -> Profile:
        self.profiles += 1
        self._answer()
        return await super().profile()

    async def list(self, folder: Address) -> Listing:
        self._answer()
        return await super().list(folder)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        self._answer()
        await super().fetch(content, start, stop, sink)


async def begun(one: Machine, portal: Portal) -> None:
    """A file on the portal; then the portal is away, which the mount has not noticed yet."""
    await one.write("/a", BASE)
    await one.drained()
    await trio.sleep(20)
    portal.turn_off()


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_CREAT])
async def test_offline_a_file_that_is_not_here_is_not_opened_for_writing(
    tmp_path: Path, autojump_clock: trio.abc.Clock, flags: int
) -> None:
    portal = Portal()
    async with machine(portal, tmp_path) as one:
        await begun(one, portal)
        with pytest.raises(Unreachable):
            await one.open("/a", flags)
        await one.close(await one.open("/a", os.O_RDONLY))
        assert len(one.fs.outbox) == 0


async def test_offline_it_may_be_replaced_as_a_whole(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    portal = Portal()
    async with machine(portal, tmp_path) as one:
        await begun(one, portal)
        await one.write("/a", b"new", flags=os.O_TRUNC)
        await one.write("/a", b" and on", flags=os.O_APPEND)  # all of that is here
        await one.fs.files.resize(one.fs.nodes[(await one.find("/a")).number], 2)
        portal.turn_on()
        await one.drained()
        assert portal.stored == {"a": b"ne"}


@pytest.mark.parametrize("size", [0, 10])
async def test_offline_it_may_be_cut_to_nothing_only(tmp_path: Path, autojump_clock: trio.abc.Clock, size: int) -> None:
    portal = Portal()
    async with machine(portal, tmp_path) as one:
        await begun(one, portal)
        number = (await one.find("/a")).number
        if size:
            with pytest.raises(Unreachable):
                await one.fs.attributes.set(number, Wanted(size_bytes=size))
        else:
            await one.fs.attributes.set(number, Wanted(size_bytes=size))
            assert await one.read("/a") == b""


async def test_who_opened_it_online_goes_on_writing(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    portal = Portal()
    async with machine(portal, tmp_path) as one:
        await one.write("/a", BASE)
        await one.drained()
        handle = await one.open("/a", os.O_RDWR)
        portal.turn_off()
        await one.fs.files.write(handle, 5, b"PATCH")
        await one.close(handle)
        portal.turn_on()
        await one.drained()
        assert portal.stored == {"a": BASE[:5] + b"PATCH" + BASE[10:]}


async def test_a_file_whose_holes_are_filled_is_here(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    portal = Portal()
    async with machine(portal, tmp_path) as one:
        await one.write("/a", BASE)
        await one.drained()
        handle = await one.open("/a", os.O_RDWR)
        await one.fs.files.write(handle, 5, b"PATCH")
        await trio.sleep(2 * BEGIN_SECONDS)
        portal.turn_off()
        await trio.sleep(60)
        await one.write("/a", b"MORE", offset=20, flags=0)
        assert await one.read("/a") == BASE[:5] + b"PATCH" + BASE[10:20] + b"MORE" + BASE[24:]
        await one.close(handle)


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[Blocks]:
    found = Blocks(tmp_path / "blocks", Limits(keep_free_bytes=0))
    yield found
    found.close()


async def test_a_file_that_was_read_before_is_here(
    tmp_path: Path, autojump_clock: trio.abc.Clock, blocks: Blocks
) -> None:
    portal = Portal()
    async with machine(portal, tmp_path, blocks=blocks) as one:
        await one.write("/a", BASE)
        await one.drained()
        handle = await one.open("/a", os.O_RDONLY)
        await one.fs.files.read(handle, 0, len(BASE))
        await trio.sleep(60)
        portal.turn_off()
        await one.write("/a", b"PATCH", offset=5, flags=0)
        assert await one.read("/a") == BASE[:5] + b"PATCH" + BASE[10:]
        await one.close(handle)


async def test_online_nothing_is_asked(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    portal = Portal()
    async with machine(portal, tmp_path) as one:
        await one.write("/a", BASE)
        await one.drained()
        for _ in range(20):
            await trio.sleep(11)
            await one.find("/a")
            await one.write("/a", b"x", flags=0)
        assert portal.profiles == 0
