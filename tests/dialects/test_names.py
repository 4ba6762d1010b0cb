from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.names import (
    NodeTarget,
    PathTarget,
    address_path,
    check_name,
    is_upload_name,
    node_path,
    numbered,
    parse_target,
    quote_path,
    split_path,
    unquote_path,
    upload_name,
    with_suffix,
)
from bitcasafs.errors import NameInvalid, NameNotUtf8, NotFound
from bitcasafs.values.items import Address, NodeId
from tests.support import strategies

DRIVE = "ab" * 32


@given(strategies.names)
def test_every_name_of_the_drive_passes_as_text_and_as_bytes(name: str) -> None:
    assert check_name(name) == name
    assert check_name(name.encode()) == name


@pytest.mark.parametrize("raw", ["", ".", "..", "a/b", "a\0b", "é" * 128, b"", b"a" * 256])
def test_what_is_no_name_is_name_invalid(raw: str | bytes) -> None:
    with pytest.raises(NameInvalid):
        check_name(raw)


@pytest.mark.parametrize("raw", ["\udcff", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_what_is_not_utf8_has_its_own_kind(raw: str | bytes) -> None:
    with pytest.raises(NameNotUtf8):
        check_name(raw)


def test_control_characters_and_255_bytes_are_allowed() -> None:
    assert check_name("a\n\x01\x7f") == "a\n\x01\x7f"
    assert check_name("é" * 127 + "a") == "é" * 127 + "a"


@given(strategies.paths)
def test_a_path_survives_quoting(path: str) -> None:
    quoted = quote_path(path)
    assert quoted.isascii() and quoted.isprintable() and " " not in quoted
    assert unquote_path(quoted) == path
    assert unquote_path(quoted.encode()) == path


def test_raw_utf8_in_a_request_line_is_tolerated() -> None:
    assert unquote_path("/é b".encode()) == "/é b"


@pytest.mark.parametrize("raw", [b"/\xff", "/%FF", "/%ED%A0%80", "/\udcff"])
def test_a_path_that_is_not_utf8_is_refused(raw: str | bytes) -> None:
    with pytest.raises(NameNotUtf8):
        unquote_path(raw)


@given(st.text() | st.binary())
def test_unquoting_anything_gives_a_path_or_says_that_it_is_not_utf8(raw: str | bytes) -> None:
    try:
        unquote_path(raw)
    except NameNotUtf8:
        return


def test_doubled_and_trailing_slashes_collapse() -> None:
    assert split_path("//a///b/") == ("a", "b")
    assert parse_target(f"//{DRIVE}//a/") == PathTarget(DRIVE, ("a",))
    assert parse_target("//") == PathTarget(None)


@given(strategies.node_ids, st.none() | strategies.names)
def test_a_node_path_leads_back_to_its_node(node: NodeId, name: str | None) -> None:
    assert parse_target(node_path(node, name)) == NodeTarget(node, name)


@pytest.mark.parametrize("path", ["/x", f"/{DRIVE}0", "/.node", "/.node/a/b/c", "/.node/" + "n" * 65, "/.node/a\nb"])
def test_what_names_no_drive_and_no_node_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        parse_target(path)


def test_no_path_leads_upwards() -> None:
    with pytest.raises(NameInvalid):
        parse_target(f"/{DRIVE}/../x")


@given(st.text(st.characters()))
def test_parsing_any_target_raises_only_what_the_caller_answers(path: str) -> None:
    try:
        parse_target(path)
    except (NotFound, NameInvalid):
        return


def test_an_address_goes_by_identity_where_it_is_known() -> None:
    assert address_path(Address("/x/y", NodeId("n"))) == "/.node/n"
    assert address_path(Address("/x/y")) == "/x/y"


@given(strategies.names, strategies.versions)
def test_an_upload_name_is_a_name_that_mounts_hide(name: str, version: str) -> None:
    aside = upload_name(name, version)
    assert check_name(aside) == aside
    assert is_upload_name(aside)
    assert aside == upload_name(name, version)


def test_upload_names_of_two_versions_differ_and_ordinary_names_are_not_hidden() -> None:
    assert upload_name("a", "1") != upload_name("a", "2")
    assert upload_name("name.txt", "1").startswith(".name.txt.")
    assert not any(map(is_upload_name, [".a.upload", "a.0123456789abcdef.upload", ".0123456789abcdef.upload", ".a"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("name.ext", "name (1).ext"),
        ("name", "name (1)"),
        (".profile", ".profile (1)"),
        ("a.tar.gz", "a.tar (1).gz"),
        ("ends.", "ends. (1)"),
        ("...", "... (1)"),
    ],
)
def test_a_number_stands_before_the_extension(name: str, expected: str) -> None:
    assert numbered(name, 1) == expected


@given(strategies.names, st.integers(1, 10**6))
def test_a_numbered_name_fits_and_differs(name: str, number: int) -> None:
    new = numbered(name, number)
    assert check_name(new) == new
    assert new != name and f" ({number})" in new


def test_a_stem_is_cut_between_characters() -> None:
    assert len(with_suffix("é" * 125 + ".txt", " (conflict)").encode()) <= 255
    assert with_suffix("é" * 125 + ".txt", " (1)").endswith("é (1).txt")
