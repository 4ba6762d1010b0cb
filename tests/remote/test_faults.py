"""Each fault at each request of each call, on both kinds of portal: done exactly once, or a named error; never twice,
never other bytes, and a repeat under the same key ends as if nothing had been.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from bitcasafs.backoff import Backoff
from bitcasafs.dialects.listing import decode_listing
from bitcasafs.errors import BitcasaError, ChecksumMismatch, Exists, ProtocolError, Unavailable
from bitcasafs.remote.interface import Remote, Source
from bitcasafs.remote.keys import new_key
from bitcasafs.remote.limit import Limits
from bitcasafs.remote.open import wrap
from bitcasafs.remote.portal import targets
from bitcasafs.remote.portal.client import PortalRemote
from bitcasafs.remote.portal.transport import Timeouts
from bitcasafs.remote.retry import RetryPolicy
from bitcasafs.values.items import Address, IdempotencyKey, Item
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Operation, Place, Put
from tests.support.contents import BytesSource, content_of, fetched, listed, md5_of, random_bytes, stored
from tests.support.fault_proxy import FaultProxy
from tests.support.faults import (
    Chance,
    Fault,
    FlipByte,
    HalfBody,
    LostAnswer,
    Nth,
    Phase,
    Refuse,
    ResetRequest,
    ResetResponse,
    Rule,
    Script,
    Side,
    Stall,
    Status,
)
from tests.support.portals import portal_remote
from tests.support.server import RunningServer

TIMEOUTS = Timeouts(connect_seconds=2, first_byte_seconds=1, silence_seconds=1)
QUICK = RetryPolicy(Backoff(base_seconds=0.01, cap_seconds=0.05, attempts=None), budget_seconds=20)
OLD, NEW, LARGE = random_bytes(3000, seed=2), random_bytes(5000, seed=3), random_bytes(17 * 1024 * 1024, seed=4)

State = Mapping[str, bytes | None]
"""Names of a folder to contents, None for folders."""
BEFORE: State = {"file.txt": OLD, "folder": None, "empty": None}


@dataclass(frozen=True, slots=True)
class Act:
    """One call, and what the folder is after it. `refusal`: what it must end with."""

    run: Callable[[Remote, Address, Mapping[str, Item], IdempotencyKey], Awaitable[object]]
    after: State
    refusal: type[BitcasaError] | None = None


async def carry_out(remote: Remote, operation: Operation, source: Source | None = None) -> None:
    (outcome,) = await remote.apply([(operation, source)])
    if outcome.error is not None:
        raise outcome.error


def put(
    name: str, data: bytes, exists: OnExisting, *, guarded: bool = False, in_batch: bool = False
) -> Callable[[Remote, Address, Mapping[str, Item], IdempotencyKey], Awaitable[object]]:
    async def run(remote: Remote, home: Address, items: Mapping[str, Item], key: IdempotencyKey) -> None:
        match = items[name].version if guarded else None
        operation = Put(home, name, len(data), exists, match, md5_of(data), key=key)
        if in_batch:
            await carry_out(remote, operation, BytesSource(data))
            return
        item = await remote.store(operation, BytesSource(data))
        assert item.size_bytes == len(data)

    return run


def change(
    made: Callable[[Address, Mapping[str, Item], IdempotencyKey], Operation],
) -> Callable[[Remote, Address, Mapping[str, Item], IdempotencyKey], Awaitable[object]]:
    async def run(remote: Remote, home: Address, items: Mapping[str, Item], key: IdempotencyKey) -> None:
        await carry_out(remote, made(home, items, key))

    return run


async def list_it(remote: Remote, home: Address, items: Mapping[str, Item], key: IdempotencyKey) -> None:
    assert set(await listed(remote, home)) == set(BEFORE)


async def fetch_it(remote: Remote, home: Address, items: Mapping[str, Item], key: IdempotencyKey) -> None:
    assert await fetched(remote, items["file.txt"]) == OLD
    assert await fetched(remote, items["file.txt"], 100, 2000) == OLD[100:2000]


FAIL, OVERWRITE, RENAME = OnExisting.FAIL, OnExisting.OVERWRITE, OnExisting.RENAME
ACTS: Mapping[str, Act] = {
    "list": Act(list_it, BEFORE),
    "fetch": Act(fetch_it, BEFORE),
    "put": Act(put("new.txt", NEW, FAIL), {**BEFORE, "new.txt": NEW}),
    "put in a batch": Act(put("new.txt", NEW, FAIL, in_batch=True), {**BEFORE, "new.txt": NEW}),
    "put empty": Act(put("new.txt", b"", FAIL), {**BEFORE, "new.txt": b""}),
    "put on a taken name": Act(put("file.txt", NEW, FAIL), BEFORE, Exists),
    "put beside": Act(put("file.txt", NEW, RENAME), {**BEFORE, "file (1).txt": NEW}),
    "replace": Act(put("file.txt", NEW, OVERWRITE, guarded=True), {**BEFORE, "file.txt": NEW}),
    "replace whatever": Act(put("file.txt", NEW, OVERWRITE), {**BEFORE, "file.txt": NEW}),
    "replace nothing": Act(put("new.txt", NEW, OVERWRITE), {**BEFORE, "new.txt": NEW}),
    "mkdir": Act(change(lambda home, items, key: Mkdir(home, "new", key=key)), {**BEFORE, "new": None}),
    "mkdir on a taken name": Act(change(lambda home, items, key: Mkdir(home, "file.txt", key=key)), BEFORE, Exists),
    "move": Act(
        change(lambda home, items, key: Move(Place(home, "file.txt"), home, "moved", key=key)),
        {"moved": OLD, "folder": None, "empty": None},
    ),
    "move over": Act(
        change(lambda home, items, key: Move(Place(home, "folder"), home, "empty", OVERWRITE, key=key)),
        {"file.txt": OLD, "empty": None},
    ),
    "move on a taken name": Act(
        change(lambda home, items, key: Move(Place(home, "file.txt"), home, "folder", key=key)), BEFORE, Exists
    ),
    "delete": Act(
        change(lambda home, items, key: Delete(Place(home, "file.txt"), items["file.txt"].version, key=key)),
        {"folder": None, "empty": None},
    ),
    "delete a folder": Act(
        change(lambda home, items, key: Delete(Place(home, "empty"), key=key)), {"file.txt": OLD, "folder": None}
    ),
}

FAULTS: Mapping[str, Fault] = {
    "refuse": Refuse(),
    "reset request": ResetRequest(),
    "reset answer": ResetResponse(),
    "lost answer": LostAnswer(),
    "half answer": HalfBody(),
    "500 before": Status(500),
    "500 after": Status(500, reaches_upstream=True),
    "502 after": Status(502, body=b"<html>bad gateway</html>", reaches_upstream=True),
    "503": Status(503, retry_after_seconds=0),
    "429": Status(429),
    "401": Status(401),
    "stall before": Stall(None, Phase.REQUEST_BODY),
    "stall after": Stall(None, Phase.BEFORE_ANSWER),
    "stall in answer": Stall(None, Phase.ANSWER_BODY),
}
QUICK_FAULTS = ("lost answer", "reset request")


@pytest.fixture(params=["portal", "historical portal"])
def either_server(
    request: pytest.FixtureRequest, server: RunningServer, historical_server: RunningServer
) -> RunningServer:
    return server if request.param == "portal" else historical_server


@asynccontextmanager
async def proxied(server: RunningServer) -> AsyncIterator[tuple[FaultProxy, PortalRemote, PortalRemote]]:
    """The proxy, a remote through it, and one beside it that sees what is really there."""
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with (
            portal_remote(server) as direct,
            portal_remote(server, through=through, timeouts=TIMEOUTS) as remote,
        ):
            await direct.connect()
            await remote.connect()
            yield proxy, remote, direct
            proxy.script = Script()
        nursery.cancel_scope.cancel()
    gc.collect()


async def state_of(direct: PortalRemote, home: Address) -> dict[str, bytes | None]:
    """Everything that is there, hidden names as well."""
    answer = await direct.session.call("GET", targets.directory(home))
    rows = decode_listing(answer.body)
    state: dict[str, bytes | None] = {}
    for item in rows:
        state[item.name] = None if item.is_folder else await fetched(direct, item)
    assert len(state) == len(rows)
    return state


async def prepared(direct: PortalRemote, name: str) -> tuple[Address, Mapping[str, Item]]:
    drive = (await direct.roots()).items[0].address
    (made,) = await direct.apply([(Mkdir(drive, name), None)])
    assert made.item is not None
    home = made.item.address
    await stored(direct, home, "file.txt", OLD)
    for folder in ("folder", "empty"):
        await carry_out(direct, Mkdir(home, folder))
    return home, await listed(direct, home)


async def once_in_spite_of(fault: Fault, act: Act, server: RunningServer) -> None:
    """The fault comes at the first request of the call, then (anew) at its second, until the call has no more."""
    async with proxied(server) as (proxy, remote, direct):
        wrapped = wrap(remote, Limits(), QUICK)
        for number in range(1, 30):
            home, items = await prepared(direct, f"faults {new_key()}")
            seen = len(proxy.log)
            proxy.script = Script([Rule(fault, when=Nth(number))])
            key = new_key()
            if act.refusal is None:
                await act.run(wrapped, home, items, key)
            else:
                with pytest.raises(act.refusal):
                    await act.run(wrapped, home, items, key)
            # What stalls is never delivered: part 1 has no way to take back a request that arrives after its repeat.
            proxy.script = Script()
            assert await state_of(direct, home) == act.after, f"with the fault at request {number}"
            if all(one.fault is None for one in proxy.log.all()[seen:]):
                assert number > 1, "the fault never came"
                return
        pytest.fail("a call has no thirty requests")


@pytest.mark.parametrize("fault", QUICK_FAULTS)
@pytest.mark.parametrize("act", ACTS)
async def test_one_fault_anywhere_changes_nothing(act: str, fault: str, either_server: RunningServer) -> None:
    await once_in_spite_of(FAULTS[fault], ACTS[act], either_server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in QUICK_FAULTS])
@pytest.mark.parametrize("act", ACTS)
async def test_any_one_fault_anywhere_changes_nothing(act: str, fault: str, either_server: RunningServer) -> None:
    await once_in_spite_of(FAULTS[fault], ACTS[act], either_server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_large_file_arrives_once(fault: str, either_server: RunningServer) -> None:
    for exists in (FAIL, OVERWRITE):
        name = "large" if exists is FAIL else "file.txt"
        act = Act(put(name, LARGE, exists), {**BEFORE, name: LARGE})
        await once_in_spite_of(FAULTS[fault], act, either_server)


# Through errors that reach the caller: without repeats, and with so many faults that repeats do not help.


async def settled(act: Act, run: Callable[[], Awaitable[object]]) -> BitcasaError | None:
    """The error that the call ended with; one of a kind that callers know."""
    try:
        await run()
    except (Unavailable, ProtocolError) as error:
        return error
    except BitcasaError as error:
        if act.refusal is None or not isinstance(error, act.refusal):
            raise
    else:
        assert act.refusal is None
    return None


@pytest.mark.parametrize("act", ACTS)
async def test_a_repeat_under_the_same_key_ends_as_if_nothing_had_been(act: str, either_server: RunningServer) -> None:
    """Half of all requests fail, in ways that leave the outcome open; who repeats gets there, exactly once."""
    wanted = ACTS[act]
    async with proxied(either_server) as (proxy, remote, direct):
        for seed in range(3):
            home, items = await prepared(direct, f"repeats {new_key()}")
            key = new_key()
            proxy.script = Script(
                [
                    Rule(LostAnswer(), when=Chance(0.25, seed)),
                    Rule(ResetRequest(), when=Chance(0.15, seed + 100)),
                    Rule(Status(503), when=Chance(0.2, seed + 200)),
                ]
            )
            for _ in range(200):
                error = await settled(wanted, lambda: wanted.run(remote, home, items, key))  # noqa: B023
                if error is None:
                    break
                if isinstance(error, Unavailable) and error.applied is False and "replace" not in act:
                    assert await state_of(direct, home) in (BEFORE, wanted.after)
            else:
                pytest.fail("never done")
            proxy.script = Script()
            assert await state_of(direct, home) == wanted.after


# Bytes that change on the way.


async def test_a_flipped_byte_of_an_upload_is_noticed_and_sent_again(server: RunningServer) -> None:
    async with proxied(server) as (proxy, remote, direct):
        wrapped = wrap(remote, Limits(), QUICK)
        for data in (NEW, LARGE):
            home, _ = await prepared(direct, f"flipped {new_key()}")
            proxy.script = Script([Rule(FlipByte(Side.REQUEST), method="POST", when=Nth(1))])
            item = await wrapped.store(Put(home, "new", len(data), md5=md5_of(data)), BytesSource(data))
            assert await fetched(direct, item) == data
            assert proxy.log.all("POST")[-2].fault is not None


async def test_a_flipped_byte_of_a_whole_download_is_named(server: RunningServer) -> None:
    async with proxied(server) as (proxy, remote, direct):
        _, items = await prepared(direct, f"flipped {new_key()}")
        proxy.script = Script([Rule(FlipByte(), path="^/file/")])
        with pytest.raises(ChecksumMismatch):
            await fetched(wrap(remote, Limits(), QUICK), items["file.txt"])


async def test_an_answer_that_is_not_the_range_asked_for_is_never_handed_on(either_server: RunningServer) -> None:
    headers = (
        (("Content-Range", "bytes 0-99/3000"),),
        (("Content-Range", "bytes 100-199/9999"),),
        (("Content-Range", "nonsense"),),
        (),
    )
    async with proxied(either_server) as (proxy, remote, direct):
        _, items = await prepared(direct, f"ranges {new_key()}")
        for status in (206, 200):
            for given in headers:
                proxy.script = Script([Rule(Status(status, body=b"x" * 100, headers=given), path="^/file/")])

                def sink(offset: int, data: bytes) -> None:
                    raise AssertionError("these bytes were not asked for")

                with pytest.raises(BitcasaError):
                    await remote.fetch(content_of(items["file.txt"]), 100, 200, sink)
