from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given

from bitcasafs.dialects.attributes import (
    check_xattrs,
    decode_attributes,
    decode_change,
    encode_attributes,
    encode_change,
    merge,
)
from bitcasafs.errors import NameInvalid, ProtocolError, TooLarge
from bitcasafs.values.items import AttributeChange, Attributes
from tests.support import strategies


@given(strategies.attributes())
def test_attributes_survive_the_wire(attributes: Attributes) -> None:
    assert decode_attributes(encode_attributes(attributes)) == attributes


@given(strategies.changes())
def test_a_change_survives_the_wire(change: AttributeChange) -> None:
    assert decode_change(encode_change(change)) == change


@given(strategies.attributes(), strategies.changes())
def test_a_merge_replaces_removes_and_leaves(attributes: Attributes, change: AttributeChange) -> None:
    merged = merge(attributes, change)
    for key in ("mode", "uid", "gid", "mtime_ns", "atime_ns", "ctime_ns", "btime_ns", "symlink", "special"):
        if key in change.values:
            assert getattr(merged, key) == change.values[key]
        elif key in change.removed:
            assert getattr(merged, key) is None
        else:
            assert getattr(merged, key) == getattr(attributes, key)
    expected = {**attributes.xattrs, **change.xattrs}
    assert merged.xattrs == {name: value for name, value in expected.items() if value is not None}
    assert merge(merged, change) == merged


def test_the_largest_value_passes_and_one_byte_more_does_not() -> None:
    full = base64.b64encode(bytes(65_536)).decode()
    assert decode_change({"xattrs": {"user.a": full}}).xattrs["user.a"] == bytes(65_536)
    over = base64.b64encode(bytes(65_537)).decode()
    with pytest.raises(ProtocolError, match=r"user\.a"):
        decode_change({"xattrs": {"user.a": over}})


def test_an_item_keeps_64_kib_of_xattrs_in_all() -> None:
    check_xattrs({"user.a": bytes(65_530)})
    with pytest.raises(TooLarge):
        check_xattrs({"user.a": bytes(40_000), "user.b": bytes(40_000)})
    with pytest.raises(NameInvalid):
        check_xattrs({"": b""})
    with pytest.raises(TooLarge):
        merge(Attributes(xattrs={"user.a": bytes(40_000)}), AttributeChange(xattrs={"user.b": bytes(40_000)}))


@given(strategies.json_values)
def test_any_value_is_a_change_or_a_named_error(value: Any) -> None:
    for obj in (value, {"mode": value}, {"symlink": value}, {"special": value}, {"xattrs": value}):
        try:
            decode_change(obj)
            decode_attributes(obj)
        except ProtocolError:
            continue
