"""For how long an unmounted drive is sent, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from bitcasafs.mount.patience import STOP_SECONDS, Patience

LONG = 7 * 86400.0
"""Nobody waits longer here."""


async def ends_after(patience: Patience, *, at: float = 0.0, happens: Callable[[], object] = lambda: None) -> float:
    """Seconds until `over` returns; `happens` is called `at` so many of them."""
    began = trio.current_time()

    async def happening() -> None:
        await trio.sleep(at)
        happens()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(happening)
        with trio.move_on_after(LONG):
            await patience.over()
        nursery.cancel_scope.cancel()
    return trio.current_time() - began


async def test_unless_told_otherwise_it_has_no_end(autojump_clock: trio.testing.MockClock) -> None:
    assert await ends_after(Patience(None)) == pytest.approx(LONG)


@pytest.mark.parametrize("seconds", [0.0, 0.25, 600.0])
async def test_it_lasts_as_long_as_linger_says(autojump_clock: trio.testing.MockClock, seconds: float) -> None:
    assert await ends_after(Patience(seconds)) == pytest.approx(seconds)


async def test_who_waits_for_the_end_is_not_left(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(0.0)
    with patience.somebody_waits():
        assert await ends_after(patience) == pytest.approx(LONG)


async def test_when_the_last_who_waited_goes_away_what_linger_says_counts_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    patience = Patience(5.0)

    async def waiter(seconds: float) -> None:
        with patience.somebody_waits():
            await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        for seconds in (10.0, 30.0, 20.0, 1.0):
            nursery.start_soon(waiter, seconds)
        await trio.testing.wait_all_tasks_blocked()
        assert await ends_after(patience) == pytest.approx(30)


async def test_who_waited_for_less_than_linger_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(600.0)
    waiting = patience.somebody_waits()
    waiting.__enter__()
    told = await ends_after(patience, at=10, happens=lambda: waiting.__exit__(None, None, None))
    assert told == pytest.approx(600)


async def test_after_a_signal_it_is_ten_seconds_whatever_linger_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for linger in (None, 0.0, 600.0):
        patience = Patience(linger)
        patience.stopped.set()
        assert await ends_after(patience) == pytest.approx(STOP_SECONDS)


async def test_a_signal_while_it_lingers_ends_it_ten_seconds_later(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(600.0)
    assert await ends_after(patience, at=100, happens=patience.stopped.set) == pytest.approx(100 + STOP_SECONDS)


async def test_another_mount_that_waits_for_the_outbox_ends_it_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for linger in (None, 600.0):
        patience = Patience(linger)
        patience.stopped.set()
        with patience.somebody_waits():
            assert await ends_after(patience, at=1, happens=patience.handed_over.set) == pytest.approx(1)
