from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from bitcasafs.dialects.discovery import BatchLimits, Extensions, decode_discovery, encode_discovery
from bitcasafs.dialects.fields import json_bytes
from bitcasafs.errors import Busy, ProtocolError
from tests.support import strategies

JSON = "application/json"


@given(strategies.extensions)
def test_what_is_advertised_is_understood(extensions: Extensions) -> None:
    body = json_bytes(encode_discovery(extensions))
    assert decode_discovery(200, "application/json; charset=utf-8", body) == extensions


@pytest.mark.parametrize(
    ("status", "content_type"),
    [(404, JSON), (401, JSON), (403, None), (405, None), (302, "text/html"), (200, "text/html"), (200, None)],
)
def test_anything_else_is_a_historical_portal(status: int, content_type: str | None) -> None:
    assert decode_discovery(status, content_type, b"<html>") is None


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_portal_that_cannot_answer_now_is_not_taken_for_a_historical_one(status: int) -> None:
    with pytest.raises(Busy):
        decode_discovery(status, "text/html", b"<html>", {"Retry-After": "3"})


def test_json_that_is_not_ours_is_a_named_error() -> None:
    for body in (b"{", b"[]", b"{}", b'{"extensions": []}', b'{"extensions": {"batch": 5}}'):
        with pytest.raises(ProtocolError, match="discovery"):
            decode_discovery(200, JSON, body)


def test_limits_that_are_not_said_have_their_guaranteed_values() -> None:
    found = decode_discovery(200, JSON, b'{"extensions": {"batch": {}, "novel": {}}}')
    assert found is not None
    assert found.batch == BatchLimits(1000, 16 * 1024 * 1024, 16 * 1024 * 1024)
    assert found.any and found.others == {"novel"} and not found.versions


@given(strategies.json_objects("portal", "version", "extensions", "limits"))
def test_any_object_is_understood_or_a_named_error(fields: dict[str, Any]) -> None:
    for shape in (fields, {"extensions": fields}, {"extensions": {"batch": fields}}):
        try:
            body = json_bytes(shape)
        except ValueError:
            continue
        try:
            decode_discovery(200, JSON, body)
        except ProtocolError:
            continue
