"""Over real sockets: time is only ever asserted from below."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.support.endpoints import LOOPBACK, Door, Endpoint, Tcp, Unix, connect, reset
from tests.support.link import FIBER, LOOP, Cut, Link, LinkProfile
from tests.support.link_process import LinkProcess
from tests.support.peers import rclone_webdav
from tests.support.processes import free_port, usage_of
from tests.support_tests.upstreams import Upstream, pattern
from tests.support_tests.waiting import when_open

FAR = LinkProfile("far", one_way_delay_ms=25)


@asynccontextmanager
async def linked(profile: LinkProfile = LOOP, listen: Endpoint = LOOPBACK) -> AsyncIterator[tuple[Link, str]]:
    """A link before an upstream, and the URL by which it is reached."""
    async with trio.open_nursery() as nursery:
        upstream = await nursery.start(Upstream().serve)
        link = Link(upstream, profile, listen)
        endpoint = await nursery.start(link.serve)
        yield link, endpoint.url
        nursery.cancel_scope.cancel()


async def test_a_request_passes_unchanged_and_is_counted() -> None:
    async with linked() as (link, url), httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/bytes/1000000")
        assert answer.content == pattern(1_000_000)
        counted = link.statistics()
        assert (counted.connections, counted.open_connections, counted.refused) == (1, 1, 0)
        assert counted.down.delivered_bytes == counted.down.taken_bytes > 1_000_000
        assert 0 < counted.up.delivered_bytes < 1000


async def test_connecting_costs_a_round_trip_and_each_request_another() -> None:
    async with linked(FAR) as (_, url), httpx.AsyncClient(base_url=url) as client:
        started_at = time.monotonic()
        await client.get("/ok")
        connected_at = time.monotonic()
        await client.get("/ok")
        assert connected_at - started_at >= 0.1
        assert time.monotonic() - connected_at >= 0.05


async def test_a_large_body_takes_as_long_as_the_rate_says() -> None:
    async with linked(FIBER) as (_, url), httpx.AsyncClient(base_url=url) as client:
        started_at = time.monotonic()
        assert len((await client.get("/bytes/2500000")).content) == 2_500_000
        assert time.monotonic() - started_at >= 0.1


async def test_unix_sockets_serve_on_both_sides(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await nursery.start(Upstream(Unix(str(tmp_path / "up"))).serve)
        endpoint = await nursery.start(Link(upstream, LOOP, Unix(str(tmp_path / "down"))).serve)
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "down"))
        async with httpx.AsyncClient(transport=transport, base_url=endpoint.url) as client:
            assert (await client.put("/a", content=b"x" * 100_000)).text == "ok"
        nursery.cancel_scope.cancel()
    assert os.listdir(tmp_path) == []


async def test_a_silent_cut_is_not_told_and_loses_nothing() -> None:
    async with linked() as (link, url), httpx.AsyncClient(base_url=url) as client:
        await client.get("/ok")
        link.cut()
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/ok", timeout=0.1)
        link.restore()
        assert (await client.get("/ok")).text == "ok"


async def test_a_cut_with_reset_ends_connections_and_refuses_new_ones_until_restored() -> None:
    async with linked() as (link, url), httpx.AsyncClient(base_url=url) as client:
        await client.get("/ok")
        link.cut(Cut.RESET)
        assert isinstance(link.endpoint, Tcp)
        with pytest.raises(ConnectionRefusedError):
            await connect(link.endpoint)
        with pytest.raises(httpx.TransportError):
            await client.get("/ok")
        link.restore()
        assert (await client.get("/ok")).text == "ok"
        assert link.endpoint.url == url
        assert link.statistics().connections == 2


async def test_an_upstream_that_refuses_resets_the_client() -> None:
    async with trio.open_nursery() as nursery:
        link = Link(Tcp("127.0.0.1", free_port()))
        endpoint = await nursery.start(link.serve)
        async with await connect(endpoint) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        assert link.statistics().refused == 1
        nursery.cancel_scope.cancel()


async def test_a_reset_on_one_side_resets_the_other() -> None:
    arrived, received = trio.Event(), trio.Event()

    async def upstream(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        arrived.set()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.aclose()
        received.set()

    async with trio.open_nursery() as nursery:
        endpoint = await nursery.start(Link(await nursery.start(Door().serve, upstream)).serve)
        client = await connect(endpoint)
        await client.send_all(b"hello")
        await arrived.wait()
        reset(client)
        await received.wait()
        nursery.cancel_scope.cancel()


def test_in_a_process_of_its_own_it_is_driven_synchronously(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pattern(300_000))
    with rclone_webdav(tmp_path) as server, LinkProcess(server.endpoint) as link:
        with httpx.Client(base_url=link.endpoint.url) as client:
            assert client.get("/file").content == pattern(300_000)
            link.profile = FAR
            started_at = time.monotonic()
            assert client.get("/file").content == pattern(300_000)
            assert time.monotonic() - started_at >= 0.05
            assert link.profile is FAR
            link.cut(Cut.RESET)
            with pytest.raises(httpx.TransportError):
                client.get("/file")
            link.restore()
            assert when_open(client, "/file").status_code == 200
        counted = link.statistics()
        assert counted.connections == 2
        assert counted.down.delivered_bytes > 900_000
        assert link.usage().peak_rss_bytes > 0
        pid = link.pid
    with pytest.raises(ProcessLookupError):
        usage_of(pid)


def test_a_command_after_its_end_says_that_it_ended() -> None:
    with LinkProcess(LOOPBACK) as link:
        link.kill()
        with pytest.raises(RuntimeError, match="ended with -9"):
            link.statistics()
