from __future__ import annotations

import pytest

from bitcasafs.dialects.messages import check_key, collapse_slashes, header
from bitcasafs.errors import Malformed


def test_headers_are_found_whatever_their_case() -> None:
    assert header({"x-a": "1"}, "X-A") == "1"
    assert header({"X-A": "1"}, "X-A") == "1"
    assert header({}, "X-A") is None


def test_glued_slashes_collapse() -> None:
    assert collapse_slashes("//login///x/") == "/login/x/"


@pytest.mark.parametrize("key", ["", "a" * 15, "a" * 65, "a" * 15 + " ", "é" * 20, "a" * 16 + "\n"])
def test_a_key_has_16_to_64_visible_characters(key: str) -> None:
    assert check_key("a" * 16) == "a" * 16
    with pytest.raises(Malformed):
        check_key(key)
