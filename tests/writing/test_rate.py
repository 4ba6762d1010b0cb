"""How fast a count grows, in virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from bitcasafs.writing.rate import STEP_SECONDS, WINDOW_SECONDS, Rate


class Count:
    value = 0

    def __call__(self) -> int:
        return self.value


async def test_what_moves_evenly_has_its_own_speed(autojump_clock: trio.testing.MockClock) -> None:
    count = Count()
    rate = Rate(count)
    assert rate() == 0.0
    for _ in range(100):
        await trio.sleep(1)
        count.value += 1000
        assert rate() == pytest.approx(1000)


async def test_what_has_stopped_is_forgotten_after_the_window(autojump_clock: trio.testing.MockClock) -> None:
    count = Count()
    rate = Rate(count)
    rate()
    count.value = 5000
    await trio.sleep(1)
    assert rate() == pytest.approx(5000)
    await trio.sleep(WINDOW_SECONDS - 2)
    assert 0 < rate() < 1000
    await trio.sleep(WINDOW_SECONDS + 1)
    assert rate() == 0.0


async def test_a_sending_that_begins_again_is_no_speed(autojump_clock: trio.testing.MockClock) -> None:
    count = Count()
    count.value = 5000
    rate = Rate(count)
    rate()
    count.value = 0
    await trio.sleep(1)
    assert rate() == 0.0


async def test_what_moved_in_no_time_is_not_infinitely_fast(autojump_clock: trio.testing.MockClock) -> None:
    count = Count()
    rate = Rate(count)
    rate()
    count.value = 100
    assert rate() == pytest.approx(100 / STEP_SECONDS)


async def test_it_may_be_asked_as_often_as_one_likes(autojump_clock: trio.testing.MockClock) -> None:
    count = Count()
    rate = Rate(count)
    for _ in range(3000):
        count.value += 10
        await trio.sleep(0.01)
        told = rate()
    assert told == pytest.approx(1000, rel=0.01)
