"""Rules and scripts: when which fault happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fault_plan import Act, request_treatment, response_treatment
from tests.support.faults import (
    Always,
    Chance,
    Delay,
    Every,
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
    When,
)


def fired(when: When, requests: int) -> list[int]:
    script = Script([Rule(Refuse(), when=when)])
    return [number for number in range(1, requests + 1) if script.decide("GET", "/") is not None]


def test_an_empty_script_does_nothing() -> None:
    assert Script().decide("GET", "/") is None


def test_rules_fire_at_the_occurrences_they_name() -> None:
    assert fired(Always(), 3) == [1, 2, 3]
    assert fired(Nth(2), 5) == [2]
    assert fired(Nth(2, 4), 5) == [2, 3, 4]
    assert fired(Every(3), 9) == [3, 6, 9]


@given(st.floats(0, 1), st.integers())
def test_chance_is_repeated_by_its_seed(probability: float, seed: int) -> None:
    assert fired(Chance(probability, seed), 50) == fired(Chance(probability, seed), 50)


def test_chance_never_and_always() -> None:
    assert fired(Chance(0.0), 100) == []
    assert len(fired(Chance(1.0), 100)) == 100


def test_a_rule_matches_method_and_path() -> None:
    script = Script([Rule(Refuse(), method="PUT", path=r"^/v2/upload/.*\?exists=")])
    assert script.decide("GET", "/v2/upload/a?exists=fail") is None
    assert script.decide("PUT", "/v2/upload/a") is None
    assert script.decide("PUT", "/v2/upload/a?exists=fail") == Refuse()


def test_the_first_rule_that_fires_wins_and_all_count() -> None:
    script = Script([Rule(Status(401), when=Nth(1)), Rule(Status(500), when=Nth(2)), Rule(Status(503))])
    assert [script.decide("GET", "/") for _ in range(3)] == [Status(401), Status(500), Status(503)]


faults = st.sampled_from(
    [
        Refuse(),
        ResetRequest(),
        ResetResponse(),
        LostAnswer(),
        Status(500),
        Delay(1),
        Stall(None, Phase.REQUEST_BODY),
        Stall(None, Phase.ANSWER_BODY),
        HalfBody(),
        FlipByte(),
        FlipByte(Side.REQUEST),
    ]
)


@given(faults, st.integers(1, 10**9))
def test_what_happens_in_a_body_happens_before_its_last_byte(fault: Fault, length: int) -> None:
    for treatment in (request_treatment(fault, length), response_treatment(fault, length)):
        assert treatment.act is Act.PASS or treatment.splits(0, length)


def test_a_place_past_the_end_is_the_last_byte_and_the_default_is_the_middle() -> None:
    assert response_treatment(HalfBody(at_bytes=500), 100).at_bytes == 99
    assert response_treatment(HalfBody(), 100).at_bytes == 50
    assert response_treatment(HalfBody(), None).at_bytes == 1
