"""What is counted of each kind of call; in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bitcasafs.errors import Busy, NotFound
from bitcasafs.remote.memory import MemoryDrive, MemoryRemote
from bitcasafs.remote.timing import TimingRemote
from bitcasafs.values.operations import Delete, Mkdir, Put
from tests.remote.scripted import ScriptedRemote
from tests.support.contents import BytesSource, fetched, stored


async def test_calls_seconds_bytes_and_errors_are_counted(autojump_clock: MockClock) -> None:
    scripted = ScriptedRemote(MemoryRemote(MemoryDrive()), seconds=2)
    remote = TimingRemote(scripted)
    home = (await remote.roots()).items[0].address
    item = await stored(remote, home, "file", b"12345")
    await fetched(remote, item, 1, 4)
    scripted.fail["profile"].append(Busy("no"))
    with pytest.raises(Busy):
        await remote.profile()
    await remote.apply(
        [(Put(home, "other", 2), BytesSource(b"12")), (Mkdir(home, "a"), None), (Delete(home.child("absent")), None)]
    )
    kinds = remote.statistics().kinds
    assert {kind: told.calls for kind, told in kinds.items()} == {
        "connect": 0,
        "profile": 1,
        "roots": 1,
        "look": 0,
        "list": 0,
        "fetch": 1,
        "store": 1,
        "apply": 1,
    }
    assert kinds["store"].content_bytes == 5
    assert kinds["fetch"].content_bytes == 3
    assert kinds["apply"].content_bytes == 2
    assert kinds["store"].seconds == 2
    assert kinds["profile"].errors == {"Busy": 1}
    assert kinds["apply"].errors == {NotFound.__name__: 1}
    assert kinds["apply"].failures == 1


async def test_running_calls_are_told_and_cancelled_ones_end(autojump_clock: MockClock) -> None:
    remote = TimingRemote(ScriptedRemote(MemoryRemote(MemoryDrive()), seconds=10))
    before = remote.statistics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.profile)
        await trio.testing.wait_all_tasks_blocked()
        assert remote.statistics().kinds["profile"].running == 1
        nursery.cancel_scope.cancel()
    after = remote.statistics().kinds["profile"]
    assert (after.running, after.calls, after.failures) == (0, 1, 0)
    assert before.kinds["profile"].calls == 0
