"""What is repeated, what is not, and how long; in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bitcasafs.backoff import Backoff
from bitcasafs.errors import (
    Busy,
    ChecksumMismatch,
    Exists,
    ProtocolError,
    TimedOut,
    Truncated,
    Unavailable,
    Unreachable,
)
from bitcasafs.remote.interface import Outcome
from bitcasafs.remote.memory import MemoryDrive, MemoryRemote
from bitcasafs.remote.retry import RetryPolicy, RetryRemote
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Made, Mkdir, OnExisting, Put
from tests.remote.scripted import ScriptedRemote
from tests.support.contents import BytesSource, fetched, listed, random_bytes, stored

POLICY = RetryPolicy(Backoff(base_seconds=1, cap_seconds=8, attempts=None), budget_seconds=60)


def retrying(*, historical: bool = False, policy: RetryPolicy = POLICY) -> tuple[RetryRemote, ScriptedRemote]:
    scripted = ScriptedRemote(MemoryRemote(MemoryDrive(), historical=historical))
    return RetryRemote(scripted, policy, random_unit=lambda: 0.0), scripted


async def home_of(remote: RetryRemote) -> Address:
    return (await remote.roots()).items[0].address


async def test_reads_are_repeated_until_they_succeed(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    home = await home_of(remote)
    scripted.fail["list"].extend([Unreachable("no"), TimedOut("no"), Busy("no"), Truncated("no")])
    assert (await remote.list(home)).items == ()
    assert scripted.calls.count("list") == 5
    assert remote.statistics().repeats == 4
    # Lower halves of 1, 2, 4 and 8 seconds.
    assert trio.current_time() == pytest.approx(7.5)


async def test_a_refusal_is_not_repeated(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    for error in (Exists("there"), ProtocolError("what is this")):
        scripted.fail["roots"].append(error)
        with pytest.raises(type(error)):
            await remote.roots()
    assert scripted.calls.count("roots") == 2


async def test_the_budget_ends_repeating(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    scripted.fail["profile"].extend(Busy("no") for _ in range(1000))
    with pytest.raises(Busy):
        await remote.profile()
    assert 50 < trio.current_time() <= 60
    assert remote.statistics().given_up == 1


async def test_the_portals_own_wish_is_honoured(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    scripted.fail["profile"].append(Busy("later", retry_after_seconds=20))
    await remote.profile()
    assert trio.current_time() == pytest.approx(20)
    scripted.fail["profile"].append(Busy("much later", retry_after_seconds=61))
    with pytest.raises(Busy):
        await remote.profile()


async def test_a_fetch_goes_on_where_it_stopped(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    data = random_bytes(1000)
    item = await stored(remote, await home_of(remote), "file", data)
    scripted.fail_after["fetch"].extend(Truncated("short") for _ in range(5))
    assert await fetched(remote, item) == data
    assert scripted.calls.count("fetch") == 6


async def test_progress_of_a_fetch_begins_the_budget_anew(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    item = await stored(remote, await home_of(remote), "file", random_bytes(100_000))
    scripted.seconds = 50
    scripted.fail_after["fetch"].extend(Truncated("short") for _ in range(10))
    assert len(await fetched(remote, item)) == 100_000
    assert trio.current_time() > 500


async def test_wrong_bytes_of_a_whole_fetch_are_reported(autojump_clock: MockClock) -> None:
    """All bytes were handed on already: only the caller can ask for them again."""

    class Lying(ScriptedRemote):
        async def fetch(self, *args: object) -> None:
            await super().fetch(*args)  # type: ignore[arg-type]
            raise ChecksumMismatch("wrong")

    lying = Lying(MemoryRemote(MemoryDrive()))
    remote = RetryRemote(lying, POLICY)
    item = await stored(remote, await home_of(remote), "file", b"content")
    with pytest.raises(ChecksumMismatch):
        await fetched(remote, item)
    assert lying.calls.count("fetch") == 1


async def test_a_lost_answer_is_repeated_with_the_same_key(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    home = await home_of(remote)
    scripted.fail_after["apply"].extend([Unreachable("lost", applied=None), TimedOut("lost")])
    outcomes = await remote.apply([(Mkdir(home, "a"), None), (Put(Made(0), "b", 1), BytesSource(b"x"))])
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert len(set(scripted.keys)) == 2
    assert None not in scripted.keys
    assert set(await listed(remote, home)) == {"a"}


async def test_a_store_keeps_its_key_over_repeats(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    home = await home_of(remote)
    scripted.fail["store"].extend([Unreachable("no", applied=False), Busy("no")])
    await stored(remote, home, "file", b"x")
    assert len(scripted.keys) == 3
    assert len(set(scripted.keys)) == 1


async def test_without_keys_only_what_surely_failed_is_repeated(autojump_clock: MockClock) -> None:
    remote, scripted = retrying(historical=True)
    home = await home_of(remote)
    scripted.fail["store"].append(Unreachable("refused", applied=False))
    await stored(remote, home, "file", b"x")
    scripted.fail["store"].append(Unreachable("lost", applied=None))
    with pytest.raises(Unreachable):
        await stored(remote, home, "other", b"x")
    assert scripted.calls.count("store") == 3
    scripted.fail["apply"].append(Unreachable("refused", applied=False))
    (outcome,) = await remote.apply([(Mkdir(home, "folder"), None)])
    assert outcome.error is None
    scripted.fail["apply"].append(Unreachable("lost", applied=None))
    with pytest.raises(Unreachable):
        await remote.apply([(Mkdir(home, "folder 2"), None)])


async def test_a_repeated_replacement_goes_on_from_its_newest_step(autojump_clock: MockClock) -> None:
    remote, scripted = retrying(historical=True)
    home = await home_of(remote)
    await stored(remote, home, "file", b"old")
    scripted.fail_after["store"].append(Unreachable("in the middle", applied=False))
    await stored(remote, home, "file", b"new", OnExisting.OVERWRITE)
    assert scripted.resumed[-2] is None
    assert scripted.resumed[-1] is not None
    assert scripted.resumed[-1].uploaded


async def test_operations_without_an_answer_are_sent_again(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    home = await home_of(remote)

    class Partial(MemoryRemote):
        times = 0

        async def apply(self, operations):  # type: ignore[no-untyped-def]
            outcomes = list(await super().apply(operations))
            Partial.times += 1
            if Partial.times == 1:
                outcomes[1:] = [Outcome(error=Unavailable("lost", applied=None))] * (len(outcomes) - 1)
            return outcomes

    assert isinstance(scripted.remote, MemoryRemote)
    scripted.remote = Partial(scripted.remote.drive)
    outcomes = await remote.apply([(Mkdir(home, str(number)), None) for number in range(5)])
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert scripted.calls.count("apply") == 2
    assert len(await listed(remote, home)) == 5


async def test_historical_operations_after_a_lost_answer_are_not_sent(autojump_clock: MockClock) -> None:
    remote, scripted = retrying(historical=True)
    home = await home_of(remote)
    await remote.apply([(Mkdir(home, "zero"), None)])
    scripted.fail_after["apply"].append(Exists("at first"))
    scripted.fail_after["apply"].append(Unreachable("lost", applied=None))
    outcomes = await remote.apply(
        [(Mkdir(home, "one"), None), (Mkdir(home, "two"), None), (Mkdir(Made(0), "three"), None)]
    )
    kinds = [type(outcome.error) for outcome in outcomes]
    assert kinds == [Exists, Unreachable, Unavailable]
    assert isinstance(outcomes[2].error, Unavailable)
    assert outcomes[2].error.applied is False


async def test_waiting_for_a_repeat_can_be_cancelled(autojump_clock: MockClock) -> None:
    remote, scripted = retrying()
    scripted.fail["profile"].extend(Busy("no", retry_after_seconds=30) for _ in range(3))
    with trio.move_on_after(10) as scope:
        await remote.profile()
    assert scope.cancelled_caught
    assert scripted.calls.count("profile") == 1
