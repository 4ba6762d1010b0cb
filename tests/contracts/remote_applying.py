"""The contract of `Remote`: several operations at once, keys, cancellation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio

from bitcasafs.errors import (
    Exists,
    KeyReused,
    PredecessorFailed,
)
from bitcasafs.remote.interface import Remote, Source
from bitcasafs.remote.keys import new_key
from bitcasafs.values.items import Address
from bitcasafs.values.operations import (
    Delete,
    Made,
    Mkdir,
    Move,
    Operation,
    Place,
    Put,
)
from tests.contracts.remote_fixtures import (
    RemoteFixtures,
    done,
    outcome_of,
)
from tests.support.contents import BytesSource, content_of, fetched, listed, md5_of, random_bytes, stored


class ApplyingContract(RemoteFixtures):
    async def test_one_bad_operation_stops_only_those_that_name_it(self, remote: Remote, home: Address) -> None:
        await stored(remote, home, "taken", b"")
        work: list[tuple[Operation, Source | None]] = [
            (Mkdir(home, "a"), None),
            (Mkdir(home, "taken"), None),
            (Put(Made(0), "in a", 3), BytesSource(b"one")),
            (Put(Made(1), "nowhere", 3), BytesSource(b"two")),
            (Mkdir(Made(0), "b"), None),
            (Put(Made(4), "in b", 0), BytesSource(b"")),
            (Move(Made(2), Made(4), "moved"), None),
            (Delete(Made(5)), None),
        ]
        outcomes = await remote.apply(work)
        errors = [outcome.error for outcome in outcomes]
        assert isinstance(errors[1], Exists)
        assert isinstance(errors[3], PredecessorFailed)
        assert [error for index, error in enumerate(errors) if index not in (1, 3)] == [None] * 6
        assert outcomes[7].item is None
        if remote.capabilities.batch:
            current = outcomes[1].current
            assert current is not None
            assert current.name == "taken"
        assert set(await listed(remote, home)) == {"taken", "a"}
        below = await listed(remote, Address(f"{home.path}/a/b"))
        assert set(below) == {"moved"}
        assert await fetched(remote, below["moved"]) == b"one"

    async def test_many_small_files_at_once(self, remote: Remote, home: Address) -> None:
        contents = {f"file {number}": random_bytes(number, seed=number) for number in range(60)}
        outcomes = await remote.apply(
            [(Put(home, name, len(data), md5=md5_of(data)), BytesSource(data)) for name, data in contents.items()]
        )
        assert [outcome.error for outcome in outcomes] == [None] * 60
        items = await listed(remote, home)
        assert {name: item.size_bytes for name, item in items.items()} == {n: len(d) for n, d in contents.items()}
        assert await fetched(remote, items["file 59"]) == contents["file 59"]

    async def test_nothing_to_do_is_nothing_done(self, remote: Remote) -> None:
        assert list(await remote.apply([])) == []

    async def test_what_a_caller_must_not_ask_is_refused(self, remote: Remote, home: Address) -> None:
        wrong: list[list[tuple[Operation, Source | None]]] = [
            [(Mkdir(home, "a"), BytesSource(b""))],
            [(Put(home, "a", 0), None)],
            [(Put(home, "a", 1), BytesSource(b""))],
            [(Mkdir(Made(0), "a"), None)],
        ]
        for work in wrong:
            with pytest.raises(ValueError, match="operation 0"):
                await remote.apply(work)
        assert await listed(remote, home) == {}

    async def test_the_same_key_is_the_same_change(self, remote: Remote, home: Address) -> None:
        if not remote.capabilities.batch:
            return
        key = new_key()
        work = (Put(home, "file", 3, key=key), BytesSource(b"one"))
        first, second = await outcome_of(remote, *work), await outcome_of(remote, *work)
        assert first.item is not None
        assert second.item is not None
        assert second.item.node == first.item.node
        for other in ((replace(work[0], name="other"), work[1]), (work[0], BytesSource(b"two"))):
            assert isinstance((await outcome_of(remote, *other)).error, KeyReused)
        assert set(await listed(remote, home)) == {"file"}

    async def test_a_failure_is_not_kept_under_its_key(self, remote: Remote, home: Address) -> None:
        mkdir = Mkdir(home, "name", key=new_key())
        await stored(remote, home, "name", b"")
        assert isinstance((await outcome_of(remote, mkdir)).error, Exists)
        await done(remote, Delete(Place(home, "name")))
        assert (await outcome_of(remote, mkdir)).error is None

    async def test_every_call_may_be_cancelled(self, remote: Remote, home: Address) -> None:
        item = await stored(remote, home, "file", b"content")
        calls: list[Callable[[], Awaitable[object]]] = [
            remote.connect,
            remote.profile,
            remote.roots,
            lambda: remote.list(home),
            lambda: remote.fetch(content_of(item), 0, 7, lambda offset, data: None),
            lambda: remote.store(Put(home, "new", 1), BytesSource(b"x")),
            lambda: remote.apply([(Mkdir(home, "folder"), None)]),
        ]
        for call in calls:
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            with trio.move_on_after(0.002):
                await call()
        assert set(await listed(remote, home)) <= {"file", "new", "folder"}
        assert await fetched(remote, item) == b"content"

    async def test_closing_twice_is_closing_once(self, remote: Remote) -> None:
        await remote.connect()
        await remote.aclose()
        await remote.aclose()
