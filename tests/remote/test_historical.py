"""What only a portal of part 1 makes us do: explain its bare statuses, live with strangers in the gaps, go on after a
crash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from bitcasafs.dialects.names import upload_name
from bitcasafs.errors import Exists, NotFolder, NotFound, Unreachable, VersionMismatch
from bitcasafs.remote.interface import ReplaceStep
from bitcasafs.remote.keys import new_key
from bitcasafs.remote.portal.client import PortalRemote
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Operation, Place, Put
from tests.support.contents import BytesSource, fetched, listed, stored
from tests.support.fault_proxy import FaultProxy
from tests.support.faults import LostAnswer, Nth, Rule, Script, Stall, Status
from tests.support.portals import portal_remote
from tests.support.server import RunningServer

OVERWRITE = OnExisting.OVERWRITE


@asynccontextmanager
async def proxied(server: RunningServer) -> AsyncIterator[tuple[FaultProxy, PortalRemote, PortalRemote, Address]]:
    """The proxy, a remote through it, one beside it, and a folder with `file`."""
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server) as direct, portal_remote(server, through=through) as remote:
            drive = (await direct.roots()).items[0].address
            (made,) = await direct.apply([(Mkdir(drive, f"home {new_key()}"), None)])
            assert made.item is not None
            await stored(direct, made.item.address, "file", b"old")
            await remote.connect()
            yield proxy, remote, direct, made.item.address
            proxy.script = Script()
        nursery.cancel_scope.cancel()


async def carry_out(remote: PortalRemote, operation: Operation) -> None:
    (outcome,) = await remote.apply([(operation, None)])
    if outcome.error is not None:
        raise outcome.error


@pytest.mark.parametrize("code", [400, 406, 418])
async def test_a_status_that_says_nothing_is_explained_by_a_look(historical_server: RunningServer, code: int) -> None:
    async with proxied(historical_server) as (proxy, remote, _, home):
        absent = home.child("absent")
        proxy.script = Script(
            [
                Rule(Status(code), method="POST"),
                Rule(Status(code), path="absent"),
                Rule(Status(code), path="/file$"),
            ]
        )
        with pytest.raises(NotFound):
            await remote.list(absent)
        with pytest.raises(NotFolder):
            await remote.list(home.child("file"))
        with pytest.raises(NotFound):
            await stored(remote, absent, "name", b"x")
        with pytest.raises(NotFound):
            await carry_out(remote, Mkdir(absent, "name"))
        with pytest.raises(Exists):
            await carry_out(remote, Mkdir(home, "file"))
        with pytest.raises(NotFound):
            await carry_out(remote, Move(Place(home, "file"), absent, "name"))
        proxy.script = Script()
        await stored(remote, home, "other", b"x")
        proxy.script = Script([Rule(Status(code), method="POST")])
        with pytest.raises(Exists):
            await carry_out(remote, Move(Place(home, "file"), home, "other"))


async def test_what_was_never_sent_is_not_taken_for_done(historical_server: RunningServer) -> None:
    """A folder that a stranger made while the portal could not be reached is not ours."""
    async with proxied(historical_server) as (proxy, remote, direct, home):
        mkdir, delete = Mkdir(home, "folder", key=new_key()), Delete(Place(home, "file"), key=new_key())
        proxy.shut()
        await trio.testing.wait_all_tasks_blocked()
        for operation in (mkdir, delete):
            with pytest.raises(Unreachable) as caught:
                await carry_out(remote, operation)
            assert caught.value.applied is False
        await carry_out(direct, Mkdir(home, "folder"))
        await carry_out(direct, Delete(Place(home, "file")))
        proxy.open()
        with pytest.raises(Exists):
            await carry_out(remote, mkdir)
        with pytest.raises(NotFound):
            await carry_out(remote, delete)


async def test_an_unknown_outcome_is_settled_when_the_change_comes_again(historical_server: RunningServer) -> None:
    """The answer is lost and nobody can look; later the same change, under its key, finds itself done."""
    async with proxied(historical_server) as (proxy, remote, _, home):
        operations: list[Operation] = [
            Mkdir(home, "folder", key=new_key()),
            Move(Place(home, "file"), home, "moved", key=new_key()),
            Delete(Place(home, "moved"), key=new_key()),
        ]
        for operation in operations:
            proxy.script = Script(
                [
                    Rule(LostAnswer(), method="POST", when=Nth(1)),
                    # The look after it; a move and a delete look once before.
                    Rule(
                        LostAnswer(), path="^/directory", method="GET", when=Nth(1 + (operation is not operations[0]))
                    ),
                ]
            )
            with pytest.raises(Unreachable) as caught:
                await carry_out(remote, operation)
            assert caught.value.applied is None
            proxy.script = Script()
            await carry_out(remote, operation)
        assert set(await listed(remote, home)) == {"folder"}
        put = Put(home, "new", 3, key=new_key())
        proxy.script = Script([Rule(LostAnswer(), when=Nth(1, 2))])
        with pytest.raises(Unreachable) as caught:
            await remote.store(put, BytesSource(b"new"))
        assert caught.value.applied is None
        proxy.script = Script()
        await remote.store(put, BytesSource(b"new"))
        assert set(await listed(remote, home)) == {"folder", "new"}


async def test_a_strangers_file_is_never_taken_for_ours(historical_server: RunningServer) -> None:
    """Same name and size, other bytes; our own copy, which the portal numbered, goes again."""
    async with proxied(historical_server) as (proxy, remote, _, home):
        proxy.script = Script([Rule(LostAnswer(), path="^/files", when=Nth(1))])
        with pytest.raises(Exists):
            await stored(remote, home, "file", b"new")
        items = await listed(remote, home)
        assert set(items) == {"file"}
        assert await fetched(remote, items["file"]) == b"old"


@pytest.mark.slow
async def test_a_lost_copy_beside_an_equal_file_does_not_stay(historical_server: RunningServer) -> None:
    """The name was taken by the very bytes, long ago: our numbered copy goes; one that was wanted stays, once."""
    async with proxied(historical_server) as (proxy, remote, _, home):
        # Real time must pass: the portal's clock is known to a few seconds, and what is older must be older by more.
        await trio.sleep(8)
        for exists in (OnExisting.FAIL, OnExisting.RENAME):
            proxy.script = Script([Rule(LostAnswer(), path="^/files", when=Nth(1))])
            if exists is OnExisting.FAIL:
                with pytest.raises(Exists):
                    await stored(remote, home, "file", b"old")
                assert set(await listed(remote, home)) == {"file"}
            else:
                assert (await stored(remote, home, "file", b"old", exists)).name == "file (1)"
                assert set(await listed(remote, home)) == {"file", "file (1)"}


async def test_a_file_changed_while_its_replacement_was_sent_stays(historical_server: RunningServer) -> None:
    async with proxied(historical_server) as (proxy, remote, direct, home):
        old = (await listed(direct, home))["file"]
        # The answer of the upload waits; by the time it comes, the file is another.
        proxy.script = Script([Rule(Stall(), path="^/files")])
        errors: list[VersionMismatch] = []

        async def replace() -> None:
            with pytest.raises(VersionMismatch) as caught:
                await remote.store(Put(home, "file", 3, OVERWRITE, if_match=old.version), BytesSource(b"new"))
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(replace)
            await proxy.log.until(lambda log: any(seen.upstream_status for seen in log.all("POST", "^/files")))
            await stored(direct, home, "file", b"theirs", OVERWRITE)
            proxy.release()
        assert len(errors) == 1
        items = await listed(direct, home)
        assert await fetched(direct, items["file"]) == b"theirs"
        assert proxy.log.count("POST", "^/delete") == 1, "only what lay aside was deleted"


async def test_who_takes_the_name_in_the_gap_keeps_it(historical_server: RunningServer) -> None:
    async with proxied(historical_server) as (proxy, remote, direct, home):
        old = (await listed(direct, home))["file"]
        proxy.script = Script([Rule(Stall(), path="^/delete", when=Nth(1))])
        errors: list[VersionMismatch] = []

        async def replace() -> None:
            with pytest.raises(VersionMismatch) as caught:
                await remote.store(Put(home, "file", 3, OVERWRITE, if_match=old.version), BytesSource(b"new"))
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(replace)
            await proxy.log.until(lambda log: any(seen.upstream_status for seen in log.all("POST", "^/delete")))
            await stored(direct, home, "file", b"theirs")
            proxy.release()
        assert len(errors) == 1
        items = await listed(direct, home)
        assert set(items) == {"file"}
        assert await fetched(direct, items["file"]) == b"theirs"
        assert proxy.log.count("POST", "^/delete") == 2, "the old file, and ours that lay aside"


@pytest.mark.parametrize("crash_after", [1, 2, 3])
async def test_a_replacement_goes_on_after_a_crash(historical_server: RunningServer, crash_after: int) -> None:
    """Another process, which knows nothing but the newest step."""

    class Crash(Exception):
        pass

    async with proxied(historical_server) as (proxy, remote, direct, home):
        old = (await listed(direct, home))["file"]
        put = Put(home, "file", 3, OVERWRITE, if_match=old.version, key=new_key())
        told: list[ReplaceStep] = []

        def on_step(step: ReplaceStep) -> None:
            told.append(step)
            if len(told) == crash_after:
                raise Crash

        with pytest.raises(Crash):
            await remote.store(put, BytesSource(b"new"), on_step=on_step)
        item = await direct.store(put, BytesSource(b"new"), resume=told[-1])
        items = await listed(direct, home)
        assert items == {"file": item} or set(items) == {"file"}
        assert await fetched(direct, items["file"]) == b"new"
        assert proxy.log.count("POST", "^/files") == (0 if crash_after == 1 else 1)


async def test_a_crash_between_a_step_and_its_record_loses_nothing(historical_server: RunningServer) -> None:
    """The old file is deleted, and the record says only that the new one is uploaded; or all is done."""
    async with proxied(historical_server) as (_, remote, direct, home):
        old = (await listed(direct, home))["file"]
        key = new_key()
        put = Put(home, "file", 3, OVERWRITE, if_match=old.version, key=key)
        aside = upload_name("file", key)
        await stored(direct, home, aside, b"new")
        await carry_out(direct, Delete(Place(home, "file")))
        step = ReplaceStep(aside, uploaded=True, deleted=False)
        await remote.store(put, BytesSource(b"new"), resume=step)
        assert await fetched(remote, (await listed(remote, home))["file"]) == b"new"
        step = ReplaceStep(aside, uploaded=True, deleted=True)
        await remote.store(put, BytesSource(b"new"), resume=step)
        assert set(await listed(remote, home)) == {"file"}


async def test_hidden_leftovers_do_not_keep_a_folder(historical_server: RunningServer) -> None:
    async with proxied(historical_server) as (_, remote, __, home):
        await carry_out(remote, Mkdir(home, "folder"))
        await stored(remote, home.child("folder"), upload_name("x", "y"), b"rest")
        await carry_out(remote, Delete(Place(home, "folder")))
        assert set(await listed(remote, home)) == {"file"}
