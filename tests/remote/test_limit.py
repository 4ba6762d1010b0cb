"""Each class of calls waits for its own alone; in virtual time."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from bitcasafs.remote.limit import LimitRemote, Limits
from bitcasafs.remote.memory import MemoryDrive, MemoryRemote
from bitcasafs.values.operations import Mkdir, Put
from tests.remote.scripted import ScriptedRemote
from tests.support.contents import BytesSource, fetched, stored


async def test_no_more_calls_of_a_class_run_than_allowed(autojump_clock: MockClock) -> None:
    scripted = ScriptedRemote(MemoryRemote(MemoryDrive()), seconds=1)
    remote = LimitRemote(scripted, Limits(metadata=3, reads=2, uploads=1))
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(remote.profile)
    assert scripted.most == 3
    assert trio.current_time() == 3


async def test_a_listing_does_not_wait_for_uploads_or_reads(autojump_clock: MockClock) -> None:
    scripted = ScriptedRemote(MemoryRemote(MemoryDrive()), seconds=1)
    remote = LimitRemote(scripted, Limits(metadata=1, reads=1, uploads=1))
    home = (await remote.roots()).items[0].address
    item = await stored(remote, home, "file", b"x")
    scripted.seconds = 100
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(stored, remote, home, f"file {number}", b"x")
            nursery.start_soon(remote.apply, [(Put(home, f"small {number}", 1), BytesSource(b"x"))])
            nursery.start_soon(fetched, remote, item)
        await trio.testing.wait_all_tasks_blocked()
        scripted.seconds = 1
        await remote.list(home)
        await remote.apply([(Mkdir(home, "folder"), None)])
        assert trio.current_time() == began + 2


async def test_a_cancelled_waiter_leaves_no_place_taken(autojump_clock: MockClock) -> None:
    scripted = ScriptedRemote(MemoryRemote(MemoryDrive()), seconds=10)
    remote = LimitRemote(scripted, Limits(metadata=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.profile)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await remote.profile()
    await remote.profile()
    assert trio.current_time() == 20


async def test_more_places_take_effect_at_once(autojump_clock: MockClock) -> None:
    scripted = ScriptedRemote(MemoryRemote(MemoryDrive()), seconds=1)
    remote = LimitRemote(scripted, Limits(metadata=1))
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(remote.profile)
        await trio.testing.wait_all_tasks_blocked()
        remote.resize(Limits(metadata=4))
    assert trio.current_time() == 1


def test_the_pool_holds_every_call_that_may_run() -> None:
    assert Limits(1, 2, 3).connections == 6
