from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.fields import json_bytes, parse_object
from bitcasafs.dialects.operations import (
    decode_fields,
    decode_target,
    encode_fields,
    encode_target,
    operation_digest,
)
from bitcasafs.errors import BitcasaError, Malformed, NameInvalid, NameNotUtf8, NotFound, ProtocolError, Refused
from bitcasafs.values.items import Address, IdempotencyKey, NodeId
from bitcasafs.values.operations import Made, Mkdir, OnExisting, Operation, Place, Put, Target
from tests.support import strategies

NODE = Address("/.node/n", NodeId("n"))
DRIVE = "ab" * 32


@given(strategies.operations)
def test_every_operation_survives_the_wire(operation: Operation) -> None:
    assert decode_fields(parse_object(json_bytes(encode_fields(operation)), "x")) == operation


@given(strategies.targets)
def test_every_target_survives_the_wire(target: Target) -> None:
    assert decode_target(encode_target(target)) == target


@pytest.mark.parametrize(
    ("wire", "target"),
    [
        ({"node": "n"}, NODE),
        ({"parent": "n", "name": "a"}, Place(NODE, "a")),
        ({"path": "/.node/n"}, NODE),
        ({"path": "/.node/n/a"}, Place(NODE, "a")),
        ({"path": f"//{DRIVE}/a//b/"}, Address(f"/{DRIVE}/a/b")),
        ({"op": 3}, Made(3)),
    ],
)
def test_each_form_of_a_target_has_one_meaning(wire: dict[str, Any], target: Target) -> None:
    assert decode_target(wire) == target


def test_an_entry_whose_parent_has_no_identity_goes_by_path() -> None:
    assert encode_target(Place(Address(f"/{DRIVE}/a"), "b")) == {"path": f"/{DRIVE}/a/b"}


def test_a_parent_may_be_named_as_an_entry() -> None:
    found = decode_fields({"op": "mkdir", "parent": {"parent": "n", "name": "a"}, "name": "b"})
    assert found == Mkdir(Address("/.node/n/a"), "b")


@pytest.mark.parametrize(
    "wire", [None, 5, [], {}, {"node": "n", "op": 1}, {"name": "a"}, {"op": -1}, {"op": "1"}, {"op": True}, {"node": 5}]
)
def test_a_target_that_is_none_or_two_is_a_named_error(wire: object) -> None:
    with pytest.raises(ProtocolError, match="target"):
        decode_target(wire)


BASE: dict[str, Any] = {"op": "put", "parent": {"node": "n"}, "name": "a", "size": 1}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"op": "link"}, Malformed),
        ({"op": None}, Malformed),
        ({"op": []}, Malformed),
        ({"name": "a/b"}, NameInvalid),
        ({"name": "a" * 256}, NameInvalid),
        ({"name": "\ud800"}, Malformed),
        ({"parent": {"path": "/nowhere"}}, NotFound),
        ({"parent": {"node": "a/b"}}, NotFound),
        ({"parent": {}}, Malformed),
        ({"size": -1}, Malformed),
        ({"size": None}, Malformed),
        ({"exists": "merge"}, Malformed),
        ({"exists": "exchange"}, Malformed),
        ({"exists": 1}, Malformed),
        ({"if_match": ""}, Malformed),
        ({"if_match": []}, Malformed),
        ({"if_match": "v" * 257}, Malformed),
        ({"md5": "x"}, Malformed),
        ({"attributes": {"mode": -1}}, Malformed),
        ({"parent_mtime_ns": 2**63}, Malformed),
        ({"key": "short"}, Malformed),
    ],
)
def test_each_wrong_field_is_refused_with_its_kind(change: dict[str, Any], kind: type[BitcasaError]) -> None:
    with pytest.raises(kind):
        decode_fields(BASE | change)


def test_a_revision_may_be_a_number() -> None:
    found = decode_fields({"op": "delete", "target": {"node": "n"}, "if_match": 7})
    assert getattr(found, "if_match") == "7"  # noqa: B009


def test_what_is_absent_has_the_careful_default() -> None:
    assert decode_fields(BASE) == Put(NODE, "a", 1, OnExisting.FAIL)
    assert decode_fields(BASE | {"exists": None, "if_match": None, "novel": 1}) == Put(NODE, "a", 1)


@given(
    st.sampled_from(["mkdir", "put", "symlink", "attributes", "move", "delete"]) | strategies.text,
    strategies.json_objects(
        *("parent", "name", "size", "exists", "if_match", "md5", "attributes", "target", "set", "if_revision"),
        *("if_match_target", "recursive", "parent_mtime_ns", "key"),
    ),
)
def test_any_object_is_an_operation_or_refused(name: str, fields: dict[str, Any]) -> None:
    for obj in ({"op": name, **fields}, {**BASE, **fields, "op": name}, {**BASE, "target": fields, "op": name}):
        try:
            decode_fields(obj)
        except Refused:
            continue


def test_names_that_are_not_utf8_never_get_that_far() -> None:
    with pytest.raises((NameNotUtf8, Malformed)):
        decode_fields(parse_object(b'{"op":"mkdir","parent":{"node":"n"},"name":"\\udcff"}', "x"))


@given(strategies.operations, strategies.keys, st.none() | strategies.md5s)
def test_the_digest_depends_on_everything_but_the_key(operation: Operation, key: str, md5: str | None) -> None:
    digest = operation_digest(operation, md5)
    assert digest == operation_digest(replace(operation, key=IdempotencyKey(key)), md5)
    assert digest != operation_digest(operation, "0" * 31 + "x")
    other = replace(operation, parent_mtime_ns=(operation.parent_mtime_ns or 0) - 1)
    assert digest != operation_digest(other, md5)
