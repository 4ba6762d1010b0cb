"""Each fault as a client sees it, and as the log tells it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.support.endpoints import Endpoint, Tcp, Unix, connect
from tests.support.fault_proxy import FaultProxy, FaultProxyThread
from tests.support.faults import (
    Delay,
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
from tests.support.peers import rclone_webdav
from tests.support.processes import free_port
from tests.support.request_log import Ending
from tests.support_tests.upstreams import Upstream, pattern
from tests.support_tests.waiting import when_open

MEBIBYTE = 1024 * 1024


@asynccontextmanager
async def proxied(
    *rules: Rule | Fault, upstream: Upstream | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, FaultProxy, Upstream]]:
    """A client whose requests pass a proxy with these rules; a bare fault happens to the first request."""
    script = Script([rule if isinstance(rule, Rule) else Rule(rule, when=Nth(1)) for rule in rules])
    server = upstream or Upstream()
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(await nursery.start(server.serve), script)
        endpoint: Endpoint = await nursery.start(proxy.serve)
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=20) as client:
            yield client, proxy, server
        nursery.cancel_scope.cancel()


class Zeros(httpx.AsyncByteStream):
    """A request's body. Not bytes: httpx reads those through an async generator, and leaves it to the garbage collector
    when the sending fails, which is a ResourceWarning under trio."""

    def __init__(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left_bytes:
            raise StopAsyncIteration
        piece = bytes(min(65_536, self._left_bytes))
        self._left_bytes -= len(piece)
        return piece


async def put_zeros(client: httpx.AsyncClient, size_bytes: int) -> httpx.Response:
    headers = {"Content-Length": str(size_bytes)}
    request = client.build_request("PUT", "/a", headers=headers)
    request.stream = Zeros(size_bytes)
    return await client.send(request)


async def ended(proxy: FaultProxy, number: int = 0) -> Ending:
    """How that request ended, once it has."""
    await proxy.log.until(lambda log: len(log) > number and log[number].ending is not Ending.OPEN)
    return proxy.log[number].ending


async def streamed(client: httpx.AsyncClient, target: str) -> tuple[bytes, type[Exception] | None]:
    """What came of an answer's body, and what ended it before its time."""
    got = b""
    try:
        async with client.stream("GET", target) as answer:
            async for piece in answer.aiter_raw():
                got += piece
    except httpx.TransportError as error:
        return got, type(error)
    return got, None


async def test_without_a_rule_everything_passes_unchanged_over_one_connection() -> None:
    async with proxied() as (client, proxy, upstream):
        sent = pattern(MEBIBYTE)
        assert (await client.put("/a%20b//c?x=1", content=sent, headers={"X-Name": "v"})).text == "ok"
        assert (await client.get("/bytes/1000000")).content == pattern(1_000_000)
        assert (await client.get("/chunked/1000000")).content == pattern(1_000_000)
        assert (await client.head("/bytes/1000000")).headers["content-length"] == "1000000"
        assert upstream.whole[0].body == sent
        assert upstream.whole[0].target == "/a%20b//c?x=1"
        assert (proxy.connections, upstream.connections) == (1, 1)
        first = proxy.log[0]
        assert (first.method, first.status, first.upstream_status) == ("PUT", 200, 200)
        assert (first.received_bytes, first.forwarded_bytes, first.answered_bytes) == (MEBIBYTE, MEBIBYTE, 2)
        assert (first.header("x-name"), first.fault, first.ending) == ("v", None, Ending.ANSWERED)


async def test_a_chunked_request_passes() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, MEBIBYTE, 1 << 16):
            yield pattern(MEBIBYTE)[start : start + (1 << 16)]

    async with proxied() as (client, _, upstream):
        assert (await client.put("/a", content=pieces())).text == "ok"
        assert upstream.whole[0].body == pattern(MEBIBYTE)


async def test_a_client_that_waits_for_continue_gets_it() -> None:
    async with proxied() as (_, proxy, upstream), await connect(proxy.endpoint) as stream:
        await stream.send_all(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"hello")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        assert upstream.whole[0].body == b"hello"


async def test_an_upstream_that_closes_after_each_answer_is_connected_again() -> None:
    async with proxied(upstream=Upstream(closes=True)) as (client, _, upstream):
        for _ in range(3):
            assert (await client.get("/a")).text == "ok"
        assert upstream.connections == 3


async def test_refused_is_a_reset_before_the_upstream_sees_anything() -> None:
    async with proxied(Refuse()) as (client, proxy, upstream):
        with pytest.raises(httpx.TransportError):
            await client.get("/a")
        assert upstream.connections == 0
        assert await ended(proxy) is Ending.RESET
        assert (await client.get("/a")).text == "ok"


async def test_a_shut_door_refuses_connections_and_resets_open_ones_until_opened() -> None:
    async with proxied() as (client, proxy, _):
        await client.get("/a")
        proxy.shut()
        with pytest.raises(httpx.TransportError):
            await client.get("/a")
        with pytest.raises(httpx.ConnectError):
            await client.get("/a")
        proxy.open()
        assert (await client.get("/a")).text == "ok"
        assert proxy.log.count() == 2


async def test_a_request_reset_in_the_middle_never_arrives_whole() -> None:
    async with proxied(ResetRequest()) as (client, proxy, upstream):
        with pytest.raises(httpx.TransportError):
            await put_zeros(client, 8 * MEBIBYTE)
        assert await ended(proxy) is Ending.RESET
        assert proxy.log[0].forwarded_bytes == 4 * MEBIBYTE
        assert upstream.whole == []
        await client.put("/a", content=bytes(8 * MEBIBYTE))
        assert proxy.log.received_bytes("PUT", "^/a$") >= 12 * MEBIBYTE


async def test_a_reset_request_without_a_body_does_not_arrive() -> None:
    async with proxied(ResetRequest()) as (client, _, upstream):
        with pytest.raises(httpx.TransportError):
            await client.get("/a")
        assert upstream.connections == 0


async def test_an_answer_reset_in_the_middle_took_effect_and_is_half() -> None:
    async with proxied(ResetResponse()) as (client, proxy, upstream):
        got, error = await streamed(client, "/bytes/1000000")
        assert error is httpx.ReadError
        assert pattern(1_000_000).startswith(got)
        assert len(got) <= 500_000
        assert len(upstream.whole) == 1
        assert proxy.log[0].answered_bytes == 500_000
        assert await ended(proxy) is Ending.RESET


@pytest.mark.parametrize("fault", [ResetResponse(), HalfBody()])
async def test_an_empty_answer_that_is_cut_is_none_at_all(fault: Fault) -> None:
    async with proxied(fault) as (client, proxy, _):
        with pytest.raises(httpx.TransportError):
            await client.get("/bytes/0")
        await ended(proxy)
        assert proxy.log[0].status is None


async def test_a_lost_answer_took_effect() -> None:
    async with proxied(LostAnswer()) as (client, proxy, upstream):
        with pytest.raises(httpx.TransportError):
            await client.put("/a", content=b"hello")
        assert upstream.whole[0].body == b"hello"
        assert await ended(proxy) is Ending.RESET
        assert (proxy.log[0].status, proxy.log[0].upstream_status) == (None, 200)
        assert (await client.put("/a", content=b"hello")).text == "ok"
        assert [got.body for got in upstream.whole] == [b"hello"] * 2


async def test_a_status_replaces_the_request() -> None:
    async with proxied(Status(503, retry_after_seconds=7, body=b"later")) as (client, proxy, upstream):
        answer = await client.put("/a", content=bytes(MEBIBYTE))
        assert (answer.status_code, answer.headers["retry-after"], answer.content) == (503, "7", b"later")
        assert upstream.connections == 0
        assert (proxy.log[0].received_bytes, proxy.log[0].forwarded_bytes) == (MEBIBYTE, 0)
        assert (await client.put("/a", content=b"")).status_code == 200
        assert proxy.connections == 1


async def test_a_status_can_hide_what_took_effect() -> None:
    async with proxied(Status(500, reaches_upstream=True)) as (client, proxy, upstream):
        assert (await client.put("/a", content=b"hello")).status_code == 500
        assert upstream.whole[0].body == b"hello"
        assert (proxy.log[0].status, proxy.log[0].upstream_status) == (500, 200)
        assert (await client.get("/a")).status_code == 200


async def test_logins_can_be_counted() -> None:
    rules = [Rule(Status(401), path="^/v2/", when=Nth(1, 3))]
    async with proxied(*rules) as (client, proxy, _):
        assert [(await client.get("/v2/folders")).status_code for _ in range(4)] == [401, 401, 401, 200]
        await client.post("/login")
        assert proxy.log.count("POST", "^/login$") == 1
        assert proxy.log.count() == 5


async def test_a_stall_before_the_answer_lasts_until_released() -> None:
    async with proxied(Stall()) as (client, proxy, upstream), trio.open_nursery() as nursery:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await client.get("/a"))

        nursery.start_soon(ask)
        await proxy.log.until(lambda log: len(log) == 1 and log[0].upstream_status == 200)
        assert (await client.get("/b")).text == "ok"
        assert answers == []
        proxy.release()
        assert await ended(proxy) is Ending.ANSWERED
        assert len(upstream.whole) == 2


async def test_a_client_that_gives_up_on_a_stall_is_seen_to_go() -> None:
    async with proxied(Stall()) as (client, proxy, _):
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/a", timeout=0.1)
        assert await ended(proxy) is Ending.CLIENT_GONE


async def test_a_stall_in_the_answer_comes_after_half_of_it() -> None:
    async with proxied(Stall(phase=Phase.ANSWER_BODY)) as (client, _, _upstream):
        client.timeout = httpx.Timeout(20, read=0.2)
        got, error = await streamed(client, "/bytes/1000000")
        assert error is httpx.ReadTimeout
        assert got == pattern(500_000)


async def test_a_stall_in_the_request_holds_up_its_sender() -> None:
    async with proxied(Stall(phase=Phase.REQUEST_BODY, at_bytes=1000)) as (client, proxy, upstream):
        client.timeout = httpx.Timeout(20, write=0.2)
        with pytest.raises(httpx.WriteTimeout):
            await put_zeros(client, 32 * MEBIBYTE)
        assert proxy.log[0].forwarded_bytes == 1000
        assert upstream.whole == []


async def test_a_delayed_answer_comes_later_and_whole() -> None:
    async with proxied(Delay(0.05)) as (client, _, _upstream):
        started_at = time.monotonic()
        assert (await client.get("/bytes/1000")).content == pattern(1000)
        assert time.monotonic() - started_at >= 0.05


@pytest.mark.parametrize("kind", ["bytes", "chunked"])
async def test_half_a_body_ends_in_good_order_and_is_noticed(kind: str) -> None:
    async with proxied(HalfBody(at_bytes=600_000)) as (client, proxy, _):
        got, error = await streamed(client, f"/{kind}/1000000")
        assert error is httpx.RemoteProtocolError
        assert got == pattern(600_000)
        assert await ended(proxy) is Ending.CUT_SHORT


async def test_one_byte_of_an_answer_is_flipped_and_all_else_stays() -> None:
    async with proxied(FlipByte(at_bytes=700_000, mask=0x80)) as (client, _, _upstream):
        got, sent = (await client.get("/bytes/1000000")).content, pattern(1_000_000)
        assert [i for i in range(len(sent)) if got[i] != sent[i]] == [700_000]
        assert got[700_000] == sent[700_000] ^ 0x80
        assert (await client.get("/bytes/1000000")).content == sent


async def test_one_byte_of_a_request_is_flipped_and_all_else_stays() -> None:
    async with proxied(FlipByte(Side.REQUEST)) as (client, _, upstream):
        await client.put("/a", content=pattern(1000))
        got, sent = upstream.whole[0].body, pattern(1000)
        assert [i for i in range(len(sent)) if got[i] != sent[i]] == [500]


async def test_an_upstream_that_is_gone_resets_the_client() -> None:
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(Tcp("127.0.0.1", free_port()))
        endpoint = await nursery.start(proxy.serve)
        async with httpx.AsyncClient(base_url=endpoint.url) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/a")
        assert await ended(proxy) is Ending.UPSTREAM_GONE
        nursery.cancel_scope.cancel()


async def test_many_requests_at_once_are_kept_apart() -> None:
    async with proxied(Rule(LostAnswer(), path="/7$")) as (client, proxy, upstream):
        outcomes: dict[int, str] = {}

        async def put(i: int) -> None:
            try:
                outcomes[i] = (await client.put(f"/put/{i}", content=bytes([i]) * 100_000)).text
            except httpx.TransportError:
                outcomes[i] = "lost"

        async with trio.open_nursery() as nursery:
            for i in range(20):
                nursery.start_soon(put, i)
        assert outcomes.pop(7) == "lost"
        assert len(outcomes) == 19
        assert {got.target: got.body for got in upstream.whole} == {
            f"/put/{i}": bytes([i]) * 100_000 for i in range(20)
        }
        assert proxy.log.received_bytes("PUT") == 2_000_000


async def test_unix_sockets_serve_on_both_sides(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = Upstream(Unix(str(tmp_path / "up")))
        script = Script([Rule(LostAnswer(), when=Nth(1)), Rule(Refuse(), when=Nth(2))])
        proxy = FaultProxy(await nursery.start(upstream.serve), script, Unix(str(tmp_path / "down")))
        endpoint = await nursery.start(proxy.serve)
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "down"))
        async with httpx.AsyncClient(transport=transport, base_url=endpoint.url) as client:
            for _ in range(2):
                with pytest.raises(httpx.TransportError):
                    await client.get("/a")
            assert (await client.get("/a")).text == "ok"
        assert len(upstream.whole) == 2
        nursery.cancel_scope.cancel()


def test_in_a_thread_it_is_driven_synchronously(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(rclone_webdav(tmp_path))
        proxy = stack.enter_context(FaultProxyThread(server.endpoint))
        with httpx.Client(base_url=proxy.endpoint.url, timeout=20) as client:
            assert client.put("/a", content=b"hello").status_code == 201
            proxy.script = Script([Rule(LostAnswer(), method="PUT")])
            with pytest.raises(httpx.TransportError):
                client.put("/b", content=b"lost but there")
            assert (tmp_path / "b").read_bytes() == b"lost but there"
            proxy.log.wait(lambda log: log.count("PUT") == 2 and log[1].ending is Ending.RESET)
            proxy.shut()
            with pytest.raises(httpx.ConnectError):
                client.get("/a")
            proxy.open()
            assert when_open(client, "/a").content == b"hello"
            proxy.script = Script([Rule(Stall())])
            with pytest.raises(httpx.ReadTimeout):
                client.get("/a", timeout=0.1)
            proxy.release()
    with pytest.raises(httpx.ConnectError):
        httpx.get(proxy.endpoint.url)
