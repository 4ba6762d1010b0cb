"""Whether the portal can be reached: what is remembered, when it is asked, and who waits."""

from __future__ import annotations

import pytest
import trio

from bitcasafs.errors import Busy, NotFound, TimedOut, Unreachable
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.remote.reach import AWAY_SECONDS, FRESH_SECONDS, ReachRemote
from bitcasafs.values.items import Address, Listing, Profile

TIMEOUT_SECONDS = 15.0


class Fickle(MemoryRemote):
    """Raises `error` at each question, or is silent."""

    def __init__(self) -> None:
        super().__init__(MemoryDrive())
        self.error: Exception | None = None
        self.silent = False
        self.asked = 0

    async def profile(self) -> Profile:
        self.asked += 1
        await self._fail()
        return await super().profile()

    async def list(self, folder: Address) -> Listing:
        await self._fail()
        return await super().list(folder)

    async def _fail(self) -> None:
        if self.silent:
            await trio.sleep_forever()
        if self.error is not None:
            raise self.error


@pytest.fixture
def fickle() -> Fickle:
    return Fickle()


@pytest.fixture
def reach(fickle: Fickle) -> ReachRemote:
    return ReachRemote(fickle, TIMEOUT_SECONDS)


async def test_an_answer_a_moment_ago_is_enough(
    fickle: Fickle, reach: ReachRemote, autojump_clock: trio.abc.Clock
) -> None:
    await reach.roots()
    await trio.sleep(FRESH_SECONDS - 1)
    await reach.need()
    assert fickle.asked == 0
    await trio.sleep(2)
    await reach.need()
    assert fickle.asked == 1


@pytest.mark.parametrize("error", [NotFound("no such folder"), Busy("later")])
async def test_a_refusal_is_an_answer(
    fickle: Fickle, reach: ReachRemote, error: Exception, autojump_clock: trio.abc.Clock
) -> None:
    fickle.error = error
    with pytest.raises(type(error)):
        await reach.list(Address("/"))
    await reach.need()
    assert fickle.asked == 0


@pytest.mark.parametrize("error", [Unreachable("no route"), TimedOut("silence")])
async def test_after_a_failure_it_is_asked_at_once_and_known_when_it_is_back(
    fickle: Fickle, reach: ReachRemote, error: Exception, autojump_clock: trio.abc.Clock
) -> None:
    await reach.roots()
    fickle.error = error
    with pytest.raises(type(error)):
        await reach.list(Address("/"))
    await trio.sleep(AWAY_SECONDS)
    with pytest.raises(Unreachable):
        await reach.need()
    fickle.error = None
    with pytest.raises(Unreachable):  # it was asked this moment
        await reach.need()
    await trio.sleep(AWAY_SECONDS)
    await reach.need()
    assert fickle.asked == 2


async def test_a_silent_portal_is_waited_for_once_and_within_the_time_out(
    fickle: Fickle, reach: ReachRemote, autojump_clock: trio.abc.Clock
) -> None:
    fickle.silent = True
    begun = trio.current_time()

    async def fails() -> None:
        with pytest.raises(Unreachable):
            await reach.need()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(fails)
    assert trio.current_time() - begun == pytest.approx(TIMEOUT_SECONDS)
    assert fickle.asked == 1
