from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from bitcasafs.dialects.fields import json_bytes
from bitcasafs.dialects.profile import decode_profile, encode_profile, usage
from bitcasafs.errors import ProtocolError
from bitcasafs.values.items import Profile
from tests.support import strategies

HISTORICAL = {
    "first_name",
    "last_name",
    "email",
    "plan_type",
    "quota",
    "storage_used",
    "usage_str",
    "days_left",
    "created_at",
    "state",
    "state_id",
    "button1",
    "button1_url",
}


@given(strategies.profiles)
def test_a_profile_survives_the_wire(profile: Profile) -> None:
    assert decode_profile(json_bytes(encode_profile(profile, extensions=True))) == profile


@given(strategies.profiles)
def test_a_historical_profile_is_flat_and_tells_all_but_the_number_of_files(profile: Profile) -> None:
    fields = encode_profile(profile, extensions=False)
    assert set(fields) == HISTORICAL
    assert not any(isinstance(value, dict | list) for value in fields.values())
    found = decode_profile(json_bytes(fields))
    assert (found.quota_bytes, found.used_bytes, found.files) == (profile.quota_bytes, profile.used_bytes, None)


@given(strategies.json_objects("email", "quota", "storage_used", "quota_bytes", "used_bytes", "files"))
def test_any_object_is_a_profile_or_a_named_error(fields: dict[str, Any]) -> None:
    try:
        body = json_bytes(fields)
    except ValueError:
        return
    try:
        decode_profile(body)
    except ProtocolError:
        return


@pytest.mark.parametrize(
    ("used", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (2 * 10**12, "2.0 TB"), (10**19, "10000.0 PB")],
)
def test_usage_is_told_for_a_person(used: int, shown: str) -> None:
    assert usage(used) == shown
