from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects import forms
from bitcasafs.dialects.fields import json_bytes
from bitcasafs.dialects.forms import ChangeOptions, Rename, Selection
from bitcasafs.dialects.options import encode_options, parse_options
from bitcasafs.errors import Malformed, ProtocolError
from bitcasafs.values.items import Item, Version
from bitcasafs.values.operations import OnExisting
from tests.support import strategies


@given(strategies.options)
def test_options_survive_as_fields_and_headers(options: ChangeOptions) -> None:
    assert parse_options(*encode_options(options)) == options


@given(strategies.paths, strategies.paths, strategies.options)
def test_a_rename_survives_the_wire(source: str, destination: str, options: ChangeOptions) -> None:
    rename = Rename(source, destination, options)
    assert forms.parse_rename(*forms.encode_rename(rename)) == rename


@given(st.lists(strategies.paths, min_size=1, max_size=3), strategies.options)
def test_a_delete_survives_the_wire(paths: list[str], options: ChangeOptions) -> None:
    selection = Selection(tuple(paths), options)
    assert forms.parse_delete(*forms.encode_delete(selection)) == selection


def test_the_selection_has_the_historical_shape() -> None:
    body, _ = forms.encode_delete(Selection(("/a",)))
    expected = '{"paths":["/a"],"albums":{},"artists":[],"photo_albums":[]}'
    assert body.decode() == "selection=" + quote(expected, safe="")


def test_conditions_in_the_query_count_and_the_form_goes_before_them() -> None:
    rename = forms.parse_rename(b"from=/a&to=/b&exists=overwrite", {}, {"exists": "fail", "if_match": "v"})
    assert rename.options == ChangeOptions(exists=OnExisting.OVERWRITE, if_match=Version("v"))


@pytest.mark.parametrize("value", ['"v"', "v"])
def test_if_match_is_a_field_or_a_header(value: str) -> None:
    assert parse_options({}, {"if-match": value}).if_match == "v"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"exists": "maybe"}, {}),
        ({"parent_mtime_ns": "x"}, {}),
        ({"parent_mtime_ns": "9" * 23}, {}),
        ({"parent_mtime_ns": "--1"}, {}),
        ({"md5": "xyz"}, {}),
        ({"recursive": "perhaps"}, {}),
        ({"if_match": "v" * 257}, {}),
        ({"key": "short"}, {}),
        ({}, {"Idempotency-Key": "short"}),
        ({}, {"Idempotency-Key": "a" * 65}),
        ({}, {"Idempotency-Key": "sixteen chars é!"}),
        ({}, {"If-Match": "*"}),
        ({}, {"If-Match": '"a", "b"'}),
        ({}, {"If-Match": 'W/"a"'}),
    ],
)
def test_a_condition_that_is_not_understood_is_refused(fields: dict[str, str], headers: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        parse_options(fields, headers)


def test_stray_and_empty_fields_are_ignored() -> None:
    assert parse_options({"access_token": "undefined", "exists": "", "if_match": ""}, {}) == ChangeOptions()


@given(
    st.dictionaries(st.sampled_from(["exists", "if_match", "parent_mtime_ns", "recursive", "md5", "key"]), st.text()),
    st.dictionaries(st.sampled_from(["If-Match", "Idempotency-Key"]), st.text()),
)
def test_any_options_are_understood_or_malformed(fields: dict[str, str], headers: dict[str, str]) -> None:
    try:
        parse_options(fields, headers)
    except Malformed:
        return


@given(strategies.hostile_bytes | st.text(st.sampled_from("=&%;+fromtoselection{}")).map(str.encode))
def test_any_body_is_a_form_or_malformed(body: bytes) -> None:
    for parse in (forms.parse_rename, forms.parse_delete):
        try:
            parse(body, {})
        except Malformed:
            continue


@given(strategies.json_values)
def test_any_selection_is_understood_or_malformed(value: Any) -> None:
    for shape in (value, {"paths": value}, {"paths": [value]}):
        try:
            body = forms.encode_form({"selection": json_bytes(shape).decode()})
        except ValueError:
            continue
        try:
            assert all(isinstance(path, str) for path in forms.parse_delete(body, {}).paths)
        except Malformed:
            continue


@pytest.mark.parametrize("body", [b"from=/a", b"to=/a", b"from=&to=", b"from=%FF&to=/b", b"&".join([b"a=b"] * 101)])
def test_a_rename_that_is_not_whole_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        forms.parse_rename(body, {})


@given(strategies.items(), st.booleans())
def test_the_answer_to_a_new_folder_survives_the_wire(item: Item, created: bool) -> None:
    body = json_bytes(forms.encode_folder_answer(item, created=created, extensions=True))
    if item.is_folder:
        assert forms.decode_folder_answer(body) == forms.FolderAnswer(item, created)
    else:
        with pytest.raises(ProtocolError, match="file"):
            forms.decode_folder_answer(body)


@given(strategies.items())
def test_the_answer_to_an_upload_survives_the_wire(item: Item) -> None:
    answer = forms.encode_upload_answer(item, extensions=True)
    assert forms.decode_upload_answer(json_bytes(answer)) == item
    assert forms.decode_upload_answer(json_bytes(answer[0])) == item


@given(strategies.hostile_bytes | st.sampled_from([b"[]", b"{}", b'{"status":"created","items":[]}', b'{"status":1}']))
def test_any_answer_is_understood_or_a_named_error(body: bytes) -> None:
    for decode in (forms.decode_folder_answer, forms.decode_upload_answer, forms.decode_done):
        try:
            decode(body)
        except ProtocolError:
            continue


def test_ok_and_json_are_done_and_a_page_is_not() -> None:
    for body in (b"OK", b"", b'{"ok":true}'):
        forms.decode_done(body)
    with pytest.raises(ProtocolError):
        forms.decode_done(b"\n<!DOCTYPE html>")
