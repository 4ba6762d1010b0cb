"""In virtual time: what the emulated link promises is exact here, whatever the machine is doing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from tests.support.link_profile import FIBER, LOOP, WAN, LinkProfile
from tests.support.wire import Wire

Stream = trio.abc.HalfCloseableStream

MEGABIT = LinkProfile("megabit", rate_bits_per_second=1e6)
"""125,000 bytes a second."""


async def carried(wire: Wire, nursery: trio.Nursery) -> tuple[Stream, Stream]:
    """A connection through the wire: its client's end and its server's."""
    client, near = memory_stream_pair()
    far, server = memory_stream_pair()
    nursery.start_soon(wire.carry, near, far)
    return client, server


async def receive_exactly(stream: Stream, size_bytes: int) -> bytes:
    got = b""
    while len(got) < size_bytes:
        piece = await stream.receive_some(size_bytes - len(got))
        assert piece
        got += piece
    return got


async def seconds_to_send(source: Stream, sink: Stream, size_bytes: int) -> float:
    started_at = trio.current_time()
    await source.send_all(bytes(size_bytes))
    await receive_exactly(sink, size_bytes)
    return trio.current_time() - started_at


async def test_a_byte_takes_the_one_way_delay_in_each_direction(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        wire = Wire(LinkProfile("far", one_way_delay_ms=40))
        await nursery.start(wire.run)
        client, server = await carried(wire, nursery)
        assert await seconds_to_send(client, server, 1) == pytest.approx(0.04)
        assert await seconds_to_send(server, client, 1) == pytest.approx(0.04)
        nursery.cancel_scope.cancel()


async def test_the_handshake_costs_a_round_trip(autojump_clock: MockClock) -> None:
    started_at = trio.current_time()
    await Wire(WAN).handshake()
    assert trio.current_time() - started_at == pytest.approx(0.08)


@pytest.mark.parametrize("profile", [MEGABIT, FIBER, replace(WAN, stall_probability=0)], ids=lambda p: p.name)
async def test_a_stream_passes_at_the_rate_and_arrives_after_the_delay(
    autojump_clock: MockClock, profile: LinkProfile
) -> None:
    assert profile.rate_bits_per_second is not None
    async with trio.open_nursery() as nursery:
        wire = Wire(profile)
        await nursery.start(wire.run)
        client, server = await carried(wire, nursery)
        taken = await seconds_to_send(client, server, 1_000_000)
        assert taken == pytest.approx(8e6 / profile.rate_bits_per_second + profile.one_way_delay_seconds)
        nursery.cancel_scope.cancel()


async def test_time_in_which_nothing_was_sent_is_not_saved_up(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        wire = Wire(MEGABIT)
        await nursery.start(wire.run)
        client, server = await carried(wire, nursery)
        await trio.sleep(100)
        assert await seconds_to_send(client, server, 125_000) == pytest.approx(1)
        nursery.cancel_scope.cancel()


async def test_connections_share_one_rate_and_none_waits_for_another_to_end(autojump_clock: MockClock) -> None:
    took: list[float] = []

    async def send(size_bytes: int) -> None:
        client, server = await carried(wire, nursery)
        took.append(await seconds_to_send(client, server, size_bytes))

    async with trio.open_nursery() as nursery:
        wire = Wire(MEGABIT)
        await nursery.start(wire.run)
        async with trio.open_nursery() as senders:
            for size_bytes in (125_000, 125_000, 12_500):
                senders.start_soon(send, size_bytes)
        nursery.cancel_scope.cancel()
    short, *long = took
    assert short < 0.4
    assert long == pytest.approx([2.1, 2.1], rel=0.02)


async def test_directions_do_not_slow_each_other(autojump_clock: MockClock) -> None:
    took: list[float] = []

    async def send(source: Stream, sink: Stream) -> None:
        took.append(await seconds_to_send(source, sink, 125_000))

    async with trio.open_nursery() as nursery:
        wire = Wire(MEGABIT)
        await nursery.start(wire.run)
        client, server = await carried(wire, nursery)
        async with trio.open_nursery() as senders:
            senders.start_soon(send, client, server)
            senders.start_soon(send, server, client)
        nursery.cancel_scope.cancel()
    assert took == pytest.approx([1, 1])


async def test_a_connection_never_exceeds_its_own_rate_while_several_together_do(autojump_clock: MockClock) -> None:
    took: list[float] = []

    async def send() -> None:
        client, server = await carried(wire, nursery)
        took.append(await seconds_to_send(client, server, 125_000))

    async with trio.open_nursery() as nursery:
        wire = Wire(LinkProfile("capped", rate_bits_per_second=10e6, connection_rate_bits_per_second=1e6))
        await nursery.start(wire.run)
        async with trio.open_nursery() as senders:
            for _ in range(4):
                senders.start_soon(send)
        nursery.cancel_scope.cancel()
    assert took == pytest.approx([1] * 4, rel=0.02)


async def test_a_lost_segment_stalls_its_connection_and_is_counted(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        wire = Wire(replace(MEGABIT, stall_probability=1.0, stall_ms=200, segment_bytes=1250))
        await nursery.start(wire.run)
        client, server = await carried(wire, nursery)
        assert await seconds_to_send(client, server, 5 * 1250) == pytest.approx(5 * (0.01 + 0.2))
        assert wire.up.statistics.stalls == 5
        assert wire.down.statistics.stalls == 0
        nursery.cancel_scope.cancel()


def test_the_same_seed_stalls_at_the_same_moments() -> None:
    async def arrivals(seed: int) -> list[float]:
        async with trio.open_nursery() as nursery:
            wire = Wire(replace(WAN, stall_probability=0.01, seed=seed))
            await nursery.start(wire.run)
            client, server = await carried(wire, nursery)
            await client.send_all(bytes(1_000_000))
            moments = []
            for _ in range(100):
                await receive_exactly(server, 10_000)
                moments.append(trio.current_time())
            nursery.cancel_scope.cancel()
        return [moment - moments[0] for moment in moments]

    one, again, other = [trio.run(arrivals, seed, clock=MockClock(autojump_threshold=0)) for seed in (1, 1, 2)]
    assert one == pytest.approx(again)
    assert one != pytest.approx(other)


async def test_a_receiver_that_does_not_read_holds_up_the_sender(autojump_clock: MockClock) -> None:
    profile = replace(LOOP, queue_bytes=100_000, window_bytes=300_000)
    async with trio.open_nursery() as nursery:
        wire = Wire(profile)
        await nursery.start(wire.run)
        client, near = lockstep_stream_pair()
        far, server = lockstep_stream_pair()
        nursery.start_soon(wire.carry, near, far)
        nursery.start_soon(client.send_all, bytes(2_000_000))
        await trio.sleep(1000)
        held_bytes = wire.up.statistics.taken_bytes
        assert 300_000 <= held_bytes <= 600_000
        assert await receive_exactly(server, 2_000_000) == bytes(2_000_000)
        nursery.cancel_scope.cancel()


async def test_a_new_profile_holds_for_what_waits_already(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        wire = Wire(replace(MEGABIT, rate_bits_per_second=1000))
        await nursery.start(wire.run)
        client, server = await carried(wire, nursery)
        await client.send_all(bytes(50_000))
        await trio.sleep(10)
        assert wire.up.statistics.delivered_bytes < 5000
        wire.profile = MEGABIT
        started_at = trio.current_time()
        await receive_exactly(server, 50_000)
        # The segment that was passing already arrives when it would have: 12 s each at 1,000 bit/s.
        assert trio.current_time() - started_at < 13
        nursery.cancel_scope.cancel()


async def test_nothing_arrives_while_cut_and_everything_after(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        wire = Wire(FIBER)
        await nursery.start(wire.run)
        client, server = await carried(wire, nursery)
        await client.send_all(b"before ")
        await trio.sleep(0.001)
        wire.cut()
        await client.send_all(b"during")
        with trio.move_on_after(1000) as waited:
            await server.receive_some()
        assert waited.cancelled_caught
        wire.restore()
        assert await receive_exactly(server, 13) == b"before during"
        nursery.cancel_scope.cancel()


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=5000), max_size=8), st.floats(0, 0.5), st.sampled_from([None, 1e6]))
def test_whatever_the_link_does_the_bytes_arrive_in_order_and_then_the_end(
    pieces: list[bytes], probability: float, rate: float | None
) -> None:
    async def everything() -> bytes:
        got = b""
        async with trio.open_nursery() as nursery:
            wire = Wire(replace(WAN, stall_probability=probability, rate_bits_per_second=rate, queue_bytes=3000))
            await nursery.start(wire.run)
            client, server = await carried(wire, nursery)
            for piece in pieces:
                await client.send_all(piece)
            await client.send_eof()
            async for arrived in server:
                got += bytes(arrived)
            await server.send_all(b"still open this way")
            assert await receive_exactly(client, 19) == b"still open this way"
            nursery.cancel_scope.cancel()
        return got

    assert trio.run(everything, clock=MockClock(autojump_threshold=0)) == b"".join(pieces)
