"""What is known of a folder, fresh, expired, and while the portal is away."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bitcasafs.errors import Unreachable
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Address, Listing
from bitcasafs.vfs.listings import AWAY_SECONDS
from tests.remote.scripted import ScriptedRemote
from tests.support.machine import machine


@pytest.fixture
def remote() -> ScriptedRemote:
    return ScriptedRemote(MemoryRemote(MemoryDrive()), seconds=1)


async def test_an_expired_listing_is_fetched_once_for_many_waiters(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, ttl_seconds=10) as one:
        await one.names()
        await trio.sleep(11)
        remote.calls.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one.names)
        assert remote.calls == ["list"]


async def test_while_the_portal_is_away_what_is_known_is_served_and_it_is_asked_only_now_and_then(
    remote: ScriptedRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, ttl_seconds=10) as one:
        await one.mkdir("/known")
        await one.names()
        await trio.sleep(11)
        remote.calls.clear()
        remote.fail["list"].extend(Unreachable("no route") for _ in range(2))
        for _ in range(50):
            assert await one.names() == ["known"]
        assert remote.calls == ["list"]
        for calls in (2, 3):
            await trio.sleep(AWAY_SECONDS + 1)
            assert await one.names() == ["known"]  # at once; it is asked behind
            await trio.testing.wait_all_tasks_blocked()
            assert remote.calls == ["list"] * calls


async def test_what_was_kept_of_a_folder_is_not_shown_when_a_change_of_ours_arrived_while_the_portal_was_waited_for(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = SlowLists(MemoryDrive())
    async with machine(remote, tmp_path, ttl_seconds=1) as one:
        await one.write("/gone", b"")
        await one.write("/stays", b"")
        await one.drained()
        await trio.sleep(2)
        assert await one.names() == ["gone", "stays"]  # and so it is kept
    async with machine(remote, tmp_path, sending=False) as one:
        await one.unlink("/gone")
    remote.seconds = 5
    async with machine(remote, tmp_path) as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.names)  # waits, with what was kept in hand
            await one.drained()
        assert await one.names() == ["stays"]


class SlowLists(MemoryRemote):
    seconds = 0.0

    async def list(self, folder: Address) -> Listing:
        await trio.sleep(self.seconds)
        return await super().list(folder)
