"""Time-outs of every phase, and that no failure of the wire is anything but one of our kinds."""

from __future__ import annotations

import gc

import pytest
import trio

from bitcasafs.errors import Busy, ProtocolError, Refused, TimedOut, Truncated, Unavailable, Unreachable
from bitcasafs.logs import Secret
from bitcasafs.remote.interface import Remote
from bitcasafs.remote.portal.client import PortalRemote
from bitcasafs.remote.portal.endpoint import parse_endpoint
from bitcasafs.remote.portal.transport import Timeouts, Transport
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Put
from tests.support.contents import BytesSource, fetched, listed, random_bytes, stored
from tests.support.endpoints import LOOPBACK, Door, Tcp
from tests.support.fault_proxy import FaultProxy
from tests.support.faults import HalfBody, Phase, ResetRequest, ResetResponse, Rule, Script, Stall, Status
from tests.support.portals import portal_remote
from tests.support.server import RunningServer

_SECRET = Secret("a password of nobody")
SHORT = Timeouts(connect_seconds=0.5, first_byte_seconds=0.5, silence_seconds=0.5)


async def test_a_portal_that_does_not_answer_is_given_up(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through, timeouts=SHORT) as remote:
            home = (await remote.roots()).items[0].address
            proxy.script = Script([Rule(Stall(), path="^/directory")])
            with pytest.raises(TimedOut), trio.fail_after(10):
                await remote.list(home)
        nursery.cancel_scope.cancel()


async def test_silence_in_the_middle_of_an_answer_is_given_up(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through, timeouts=SHORT) as remote:
            home = (await remote.roots()).items[0].address
            item = await stored(remote, home, "silence", random_bytes(3_000_000))
            proxy.script = Script([Rule(Stall(phase=Phase.ANSWER_BODY), path="^/file/")])
            with pytest.raises(TimedOut), trio.fail_after(10):
                await fetched(remote, item)
        nursery.cancel_scope.cancel()
    gc.collect()


async def test_a_portal_that_stops_taking_bytes_is_given_up(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through, timeouts=SHORT) as remote:
            home = (await remote.roots()).items[0].address
            proxy.script = Script([Rule(Stall(phase=Phase.REQUEST_BODY, at_bytes=100_000), method="POST")])
            with pytest.raises(TimedOut), trio.fail_after(10):
                await stored(remote, home, "stalled", random_bytes(12_000_000))
            proxy.script = Script()
            proxy.release()
            assert "stalled" not in await listed(remote, home)
        nursery.cancel_scope.cancel()
    gc.collect()


async def test_a_portal_that_does_not_take_the_connection_is_given_up() -> None:
    # A listener whose queue is full: the kernel neither refuses nor accepts.
    async with trio.open_nursery() as nursery:
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            for _ in range(4):
                nursery.start_soon(_occupy, port)
            await trio.testing.wait_all_tasks_blocked(0.1)
            transport = Transport(parse_endpoint(f"http://127.0.0.1:{port}"), timeouts=SHORT, connections=1)
            with pytest.raises(TimedOut) as caught, trio.fail_after(10):
                await transport.call("POST", "/")
            assert caught.value.applied is False
            await transport.aclose()
            nursery.cancel_scope.cancel()


async def _occupy(port: int) -> None:
    with trio.socket.socket() as client:
        await client.connect(("127.0.0.1", port))
        await trio.sleep_forever()


async def test_a_socket_that_is_gone_is_unreachable() -> None:
    transport = Transport(parse_endpoint("unix:/nowhere/at/all"), timeouts=SHORT, connections=1)
    with pytest.raises(Unreachable) as caught:
        await transport.call("GET", "/")
    assert caught.value.applied is False
    await transport.aclose()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ResetResponse(), Unavailable),
        (HalfBody(), Truncated),
        (Status(503, retry_after_seconds=7), Busy),
        (Status(502, body=b"<html>gateway</html>"), Busy),
        (Status(200, body=b"<html>welcome to the hotel</html>"), ProtocolError),
    ],
)
async def test_every_failure_is_of_a_known_kind(server: RunningServer, fault: Status, kind: type[Exception]) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            home = (await remote.roots()).items[0].address
            proxy.script = Script([Rule(fault, path="^/directory")])
            with pytest.raises(kind):
                await remote.list(home)
        nursery.cancel_scope.cancel()
    gc.collect()


async def test_a_reset_while_sending_leaves_nothing(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(server.endpoint)
        through = await nursery.start(proxy.serve)
        async with portal_remote(server, through=through) as remote:
            home = (await remote.roots()).items[0].address
            proxy.script = Script([Rule(ResetRequest(), method="POST")])
            for size_bytes in (100_000, 18_000_000):
                with pytest.raises(Unavailable):
                    await stored(remote, home, "reset", random_bytes(size_bytes))
            proxy.script = Script()
            assert "reset" not in await listed(remote, home)
        nursery.cancel_scope.cancel()
    gc.collect()


async def serve_answers(door: Door, answers: list[bytes], *, task_status: trio.TaskStatus[Tcp]) -> None:
    """Whatever is asked: the next of `answers`, then the connection is closed."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65_536)
            if answers:
                await stream.send_all(answers.pop(0))

    await door.serve(answer, task_status=task_status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_no_portal_is_said_to_be_none(answer: bytes) -> None:
    async with trio.open_nursery() as nursery:
        endpoint: Tcp = await nursery.start(serve_answers, Door(LOOPBACK), [answer] * 20)
        transport = Transport(parse_endpoint(endpoint.url), timeouts=SHORT, connections=2)
        remote: Remote = PortalRemote(transport, "ann", lambda: _SECRET)
        with pytest.raises((Unavailable, ProtocolError)) as caught:
            await remote.store(Put((await remote.roots()).items[0].address, "x", 1), BytesSource(b"x"))
        assert not isinstance(caught.value, Unavailable) or caught.value.applied is not True
        await remote.aclose()
        nursery.cancel_scope.cancel()


async def test_a_path_that_no_request_can_hold_is_refused(historical_server: RunningServer) -> None:
    async with portal_remote(historical_server) as remote:
        home = (await remote.roots()).items[0].address
        with pytest.raises(Refused):
            await remote.list(Address(home.path + "/deep" * 20_000))


async def test_a_closed_remote_is_unreachable(server: RunningServer) -> None:
    async with portal_remote(server) as remote:
        await remote.connect()
        await remote.aclose()
        with pytest.raises(Unreachable) as caught:
            await remote.profile()
        assert caught.value.applied is False
