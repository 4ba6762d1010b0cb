"""One login for everybody, unseen by callers; and none at all where the portal says no."""

from __future__ import annotations

import logging
import traceback

import httpx
import pytest
import trio

from bitcasafs.errors import Busy, LoginRefused, NotFound, Unavailable, Unreachable
from bitcasafs.logs import Secret
from bitcasafs.remote.portal.client import PortalRemote
from bitcasafs.remote.portal.endpoint import parse_endpoint
from bitcasafs.remote.portal.transport import Timeouts, Transport
from bitcasafs.values.operations import Mkdir
from tests.support.contents import fetched, listed, random_bytes, stored
from tests.support.fault_proxy import FaultProxy
from tests.support.faults import LostAnswer, Nth, Rule, Script, Status
from tests.support.portals import open_portal, portal_remote
from tests.support.server import RunningServer

CALLERS = 40


def expire_sessions(server: RunningServer, proxy: FaultProxy) -> None:
    """On the server: every session that came through the proxy is logged out."""
    for cookie in {seen.header("Cookie") for seen in proxy.log.all()} - {None}:
        assert cookie is not None
        httpx.get(f"{server.url}/logout", headers={"Cookie": cookie}, trust_env=False)


async def test_forty_callers_that_find_the_session_expired_log_in_once(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            home = (await remote.roots()).items[0].address
            data = random_bytes(1000)
            item = await stored(remote, home, "for forty callers", data)
            assert proxy.log.count("POST", "^/login") == 1
            for round_number in range(2):
                await trio.to_thread.run_sync(expire_sessions, server, proxy)
                got: list[object] = []

                async def call(number: int, round_number: int = round_number, got: list[object] = got) -> None:
                    match number % 4:
                        case 0:
                            got.append(await fetched(remote, item) == data)
                        case 1:
                            got.append("for forty callers" in await listed(remote, home))
                        case 2:
                            got.append((await remote.profile()).used_bytes >= 1000)
                        case _:
                            (outcome,) = await remote.apply([(Mkdir(home, f"{round_number} {number}"), None)])
                            got.append(outcome.error is None)

                async with trio.open_nursery() as callers:
                    for number in range(CALLERS):
                        callers.start_soon(call, number)
                assert got == [True] * CALLERS
                assert proxy.log.count("POST", "^/login") == 2 + round_number
            assert remote.session.logins == 3
        nursery.cancel_scope.cancel()


async def test_forty_callers_of_a_new_remote_log_in_once(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            async with trio.open_nursery() as callers:
                for _ in range(CALLERS):
                    callers.start_soon(remote.roots)
            assert proxy.log.count("POST", "^/login") == 1
            assert proxy.log.count("GET", "well-known") == 1
        nursery.cancel_scope.cancel()


async def test_a_wrong_password_is_refused_and_not_tried_again_at_once(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        remote = open_portal(server, through=through, password="not the password")
        refusals: list[LoginRefused] = []

        async def call() -> None:
            with pytest.raises(LoginRefused) as caught:
                await remote.roots()
            refusals.append(caught.value)

        async with trio.open_nursery() as callers:
            for _ in range(CALLERS):
                callers.start_soon(call)
        assert len(refusals) == CALLERS
        assert proxy.log.count("POST", "^/login") == 1
        await remote.aclose()
        nursery.cancel_scope.cancel()


async def test_when_the_login_fails_all_who_wait_for_it_fail_with_it(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            await remote.connect()
            await trio.to_thread.run_sync(expire_sessions, server, proxy)
            proxy.script = Script([Rule(Status(503, retry_after_seconds=3), path="^/login")])
            errors: list[Unavailable] = []

            async def call() -> None:
                try:
                    await remote.profile()
                except Unavailable as error:
                    errors.append(error)

            async with trio.open_nursery() as callers:
                for _ in range(CALLERS):
                    callers.start_soon(call)
            assert len(errors) == CALLERS
            assert all(isinstance(error, Busy) and error.applied is False for error in errors)
            assert errors[0].retry_after_seconds == 3
            # One, but for those whose 401 came only after the others had failed.
            assert proxy.log.count("GET", "^/login") < CALLERS
            proxy.script = Script()
            await remote.profile()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_login_is_taken_over_by_who_waits(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            await remote.connect()
            await trio.to_thread.run_sync(expire_sessions, server, proxy)
            leader = trio.CancelScope()
            done = trio.Event()

            async def lead() -> None:
                with leader:
                    await remote.profile()

            async def follow() -> None:
                await remote.profile()
                done.set()

            nursery.start_soon(lead)
            await proxy.log.until(lambda log: log.count("GET", "^/login") == 2)
            nursery.start_soon(follow)
            await proxy.log.until(lambda log: log.count("GET", "^/profile") == 2)
            leader.cancel()
            await done.wait()
            assert remote.session.logins == 2
        nursery.cancel_scope.cancel()


async def test_a_portal_that_keeps_no_session_is_named(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint, Script([Rule(Status(401), path="^/profile")]))
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            with pytest.raises(LoginRefused):
                await remote.profile()
            assert proxy.log.count("GET", "^/profile") == 3
        nursery.cancel_scope.cancel()


async def test_a_portal_that_cannot_be_reached_changes_nothing(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            home = (await remote.roots()).items[0].address
            proxy.shut()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Unreachable) as caught:
                await remote.apply([(Mkdir(home, "never"), None)])
            assert caught.value.applied is False
            proxy.open()
            assert "never" not in await listed(remote, home)
            proxy.script = Script([Rule(LostAnswer(), path="^/batch", when=Nth(1))])
            with pytest.raises(Unreachable) as caught:
                await remote.apply([(Mkdir(home, "perhaps"), None)])
            assert caught.value.applied is None
        nursery.cancel_scope.cancel()


async def test_closing_ends_the_session_on_the_portal(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            await remote.profile()
        cookie = proxy.log.all("GET", "^/profile")[0].header("Cookie")
        assert cookie is not None
        transport = Transport(parse_endpoint(server.url), timeouts=Timeouts(), connections=1)
        assert (await transport.call("GET", "/profile", headers={"Cookie": cookie})).status == 401
        await transport.aclose()
        nursery.cancel_scope.cancel()


async def test_no_secret_is_in_a_log_or_traceback(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = Secret("a very secret password")
    transport = Transport(parse_endpoint(server.url), timeouts=Timeouts(), connections=1)
    remote = PortalRemote(transport, "ann", lambda: secret)
    with pytest.raises(LoginRefused) as caught:
        await remote.roots()
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("bitcasafs"))
    assert "LoginRefused" in told
    assert "a very secret password" not in ours
    assert "secret+password" not in ours
    assert "a very secret password" not in "".join(traceback.format_exception(caught.value))
    await remote.aclose()


STRANGERS = {
    "a redirect": Status(302, headers=(("Location", "http://hotel.invalid/"),)),
    "a page that forbids": Status(403, headers=(("Content-Type", "text/html"),)),
    "a page that finds nothing": Status(404, headers=(("Content-Type", "Text/HTML; charset=utf-8"),)),
}


@pytest.mark.parametrize("answer", STRANGERS)
async def test_what_a_stranger_says_in_the_portals_place_is_no_refusal(server: RunningServer, answer: str) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            home = (await remote.roots()).items[0].address
            proxy.script = Script([Rule(STRANGERS[answer])])
            with pytest.raises(Unreachable, match="something else answers"):
                await remote.list(home)
            with pytest.raises(Unreachable, match="something else answers"):
                await remote.apply([(Mkdir(home, answer), None)])
        nursery.cancel_scope.cancel()


async def test_a_page_of_a_historical_portal_that_finds_nothing_is_believed(historical_server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(historical_server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(historical_server, through=through) as remote:
            home = (await remote.roots()).items[0].address
            proxy.script = Script([Rule(STRANGERS["a page that finds nothing"])])
            with pytest.raises(NotFound):
                await remote.list(home)
        nursery.cancel_scope.cancel()
