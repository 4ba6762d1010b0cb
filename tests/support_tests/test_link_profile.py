from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.support.link_profile import FIBER, LOOP, WAN, LossDice


def losses(key: str, pieces: list[int], probability: float) -> list[bool]:
    dice = LossDice(key)
    profile = replace(LOOP, stall_probability=probability, segment_bytes=1000)
    return [dice.loses(size, profile) for size in pieces]


def test_without_probability_nothing_is_lost() -> None:
    assert not any(losses("a", [10**9] * 3, 0.0))


def test_with_certainty_every_segment_is_lost() -> None:
    assert all(losses("a", [1000] * 50, 1.0))


@given(st.text(), st.floats(0.001, 0.999))
def test_the_same_key_loses_the_same_segments(key: str, probability: float) -> None:
    pieces = [1000] * 200
    assert losses(key, pieces, probability) == losses(key, pieces, probability)


def test_losses_come_as_often_as_the_probability_says() -> None:
    lost = sum(losses("a", [1000] * 100_000, 0.01))
    assert 800 < lost < 1200


def test_a_turn_is_short_on_a_slow_link_and_a_whole_read_on_an_unlimited_one() -> None:
    assert LOOP.quantum_bytes == 256 * 1024
    assert FIBER.quantum_bytes == WAN.quantum_bytes == 16 * 1024
    assert replace(WAN, rate_bits_per_second=1e6).quantum_bytes == WAN.segment_bytes
