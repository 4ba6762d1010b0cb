from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest
from hypothesis import given

from bitcasafs.dialects import fields
from bitcasafs.errors import Malformed, ProtocolError
from tests.support import strategies


class Colour(Enum):
    RED = "red"


@given(strategies.json_values)
def test_json_without_nan_comes_back(value: Any) -> None:
    try:
        encoded = fields.json_bytes(value)
    except ValueError:
        encoded = json.dumps(value).encode()
        if any(name in encoded for name in (b"NaN", b"Infinity")):
            with pytest.raises(ProtocolError):
                fields.parse_json(encoded, "x")
        return
    assert b"\n" not in encoded
    assert fields.parse_json(encoded, "x") == value


@given(strategies.hostile_bytes)
def test_any_bytes_are_an_object_or_a_named_error(data: bytes) -> None:
    try:
        assert isinstance(fields.parse_object(data, "x"), dict)
    except ProtocolError:
        return


def test_an_error_shows_the_beginning_of_what_came() -> None:
    with pytest.raises(ProtocolError, match=r"x is not JSON, got b'<html>") as caught:
        fields.parse_object(b"<html>" * 10_000, "x")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (fields.text, ["", "a", "é"], [1, True, [], "\ud800"]),
        (fields.integer, [0, -5, 2**63 - 1], [2**63, "1", True, 5.0, 1.5, 1e300, 10**400]),
        (fields.number, [0, 1.5, 3.0, -3], ["1", True, float("inf"), 2**63]),
        (fields.boolean, [True, False], [0, 1, "true"]),
        (fields.mapping, [{}], [[], "", 0]),
        (fields.sequence, [[], [1]], [{}, "", 0]),
    ],
)
def test_each_type_takes_its_own_and_names_the_field_of_any_other(read: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert read({"f": value}, "f", "message") == value
    for value in bad:
        with pytest.raises(ProtocolError, match=r"message: 'f'"):
            read({"f": value}, "f", "message")
    for absent in ({}, {"f": None}):
        with pytest.raises(ProtocolError, match="missing"):
            read(absent, "f", "message")
        default = good[0]
        assert read(absent, "f", "message", default) == default


def test_a_choice_is_one_of_its_values() -> None:
    assert fields.choice({"f": "red"}, "f", "m", Colour) is Colour.RED
    others: list[Any] = ["blue", 1, [], {}]
    for other in others:
        with pytest.raises(ProtocolError, match="red"):
            fields.choice({"f": other}, "f", "m", Colour)


def test_bounds_are_kept() -> None:
    with pytest.raises(ProtocolError, match="bounds"):
        fields.integer({"f": -1}, "f", "m", minimum=0)
    assert fields.optional_integer({}, "f", "m") is None
    assert fields.optional_text({"f": None}, "f", "m") is None


def test_on_the_portals_side_the_same_error_is_the_clients_fault() -> None:
    with pytest.raises(Malformed, match="not JSON"), fields.refusing():
        fields.parse_object(b"{", "x")


def test_half_a_surrogate_pair_is_written_as_an_escape() -> None:
    assert fields.json_bytes({"a": "\ud800"}) == b'{"a":"\\ud800"}'
