from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.fields import json_bytes, parse_json
from bitcasafs.dialects.listing import ListingQuery, decode_listing, decode_window, encode_listing, listing_pieces
from bitcasafs.errors import ProtocolError
from bitcasafs.values.items import Item
from tests.support import strategies


@given(strategies.queries)
def test_a_query_survives_the_wire(query: ListingQuery) -> None:
    assert ListingQuery.parse(query.encode()) == query


@given(st.lists(strategies.items(), max_size=3), strategies.queries, strategies.text)
def test_both_shapes_give_the_same_items(items: list[Item], query: ListingQuery, name: str) -> None:
    answer = encode_listing(items, query, name=name, total=len(items), extensions=True)
    assert isinstance(answer, dict) == query.window
    assert decode_listing(json_bytes(answer)) == tuple(items)


def test_the_object_tells_where_the_rows_end() -> None:
    answer = encode_listing([], ListingQuery(top=5), name="n", total=5, extensions=False)
    assert answer == {"name": "n", "length": 5, "range": {"top": 5, "bottom": 5}, "sentinel": None, "items": []}
    assert decode_window(json_bytes(answer)) == ((), 5, 5)


def test_a_window_has_the_historical_defaults() -> None:
    assert (ListingQuery().start, ListingQuery().stop) == (0, None)
    assert (ListingQuery(top=10).start, ListingQuery(top=10).stop) == (10, 500)
    assert (ListingQuery(bottom=7).start, ListingQuery(bottom=7).stop) == (0, 7)
    assert ListingQuery(top=9, bottom=3).stop == 9


@pytest.mark.parametrize("stray", ["", "abc", "-3", "1.5", "9" * 50, "²", " "])
def test_a_stray_window_has_its_default(stray: str) -> None:
    query = ListingQuery.parse({"top": stray, "bottom": stray, "sort_column": "bogus", "access_token": "undefined"})
    assert (query.start, query.stop, query.window, query.sort_column) == (0, 500, True, "name")


@pytest.mark.parametrize(
    ("said", "meant"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)]
)
def test_booleans_are_read_as_clients_spell_them(said: str, meant: bool) -> None:
    assert ListingQuery.parse({"show-incomplete": said}).show_incomplete is meant
    assert ListingQuery.parse({"sort_ascending": said}).sort_ascending is meant


@given(st.dictionaries(st.sampled_from(["top", "bottom", "sort_column", "sort_ascending"]), st.text()))
def test_no_query_is_refused(query: dict[str, str]) -> None:
    parsed = ListingQuery.parse(query)
    assert parsed.stop is None or 0 <= parsed.start <= parsed.stop


@given(strategies.hostile_bytes)
def test_any_body_is_a_listing_or_a_named_error(body: bytes) -> None:
    for read in (decode_listing, decode_window):
        try:
            read(body)
        except ProtocolError:
            continue


@given(strategies.json_values)
def test_any_json_is_a_listing_or_a_named_error(value: Any) -> None:
    for shape in (value, [value], {"items": value}, {"items": [value]}, {"items": [], "range": value}):
        try:
            body = json_bytes(shape)
        except ValueError:
            continue
        for read in (decode_listing, decode_window):
            try:
                read(body)
            except ProtocolError:
                continue


def test_one_bad_row_is_named_with_its_number() -> None:
    with pytest.raises(ProtocolError, match="item 1: 'name'"):
        decode_listing(b'[{"name":"a","path":"/x/a","type":1},{"path":"/x/b","type":1}]')


@given(st.lists(strategies.items(), max_size=3), strategies.queries, strategies.text)
def test_a_listing_in_pieces_is_the_same_listing(items: list[Item], query: ListingQuery, name: str) -> None:
    whole = encode_listing(items, query, name=name, total=7, extensions=True)
    pieces = list(listing_pieces(items, query, name=name, total=7, extensions=True))
    assert parse_json(b"".join(pieces), "listing") == parse_json(json_bytes(whole), "listing")
    assert len(pieces) == len(items) + 2
