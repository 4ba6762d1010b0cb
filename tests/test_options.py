"""The words after `-o`, and the page that lists them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.errors import ConfigError
from bitcasafs.options import (
    OPTIONS,
    parse_environment,
    parse_options,
    split_globs,
    split_words,
    to_help,
    to_markdown,
)

DOCUMENT = Path(__file__).parent.parent / "docs" / "options.md"


def test_the_page_has_the_table_as_it_is() -> None:
    assert to_markdown() in DOCUMENT.read_text(encoding="utf-8")


def test_every_option_is_in_the_help() -> None:
    lines = to_help().splitlines()
    assert len(lines) == len(OPTIONS)
    assert all(line.strip().startswith(option.name) for line, option in zip(lines, OPTIONS, strict=True))


def test_values_are_typed() -> None:
    told = parse_options(["ttl=1m,uploads=8", "timeout=2500ms,ro,data=/srv/a\\,b"])
    assert told.values == {"ttl": 60.0, "uploads": 8, "timeout": 2.5, "ro": True, "data": "/srv/a,b"}
    assert told.unknown == ()


def test_a_size_is_a_number_of_bytes() -> None:
    assert parse_options(["cache_size=64M"]).values == {"cache_size": 64 << 20}
    assert parse_options(["cache_size=0,keep_free=1G"]).values == {"cache_size": 0, "keep_free": 1 << 30}


def test_the_last_of_a_repeated_word_wins() -> None:
    assert parse_options(["ttl=1s", "ttl=2s"]).values == {"ttl": 2.0}
    assert parse_options(["ro,rw"]).values == {"ro": False}
    assert "nosuid" not in parse_options(["suid"]).kernel_flags
    assert "nosuid" in parse_options(["suid,nosuid"]).kernel_flags


def test_set_uid_programs_and_devices_are_off_by_default() -> None:
    assert parse_options([]).kernel_flags == {"nosuid", "nodev"}
    assert parse_options(["noexec,noatime"]).kernel_flags == {"nosuid", "nodev", "noexec", "noatime"}


@pytest.mark.parametrize(
    "word",
    ["rw", "defaults", "noauto", "nofail", "_netdev", "user", "users", "owner", "group", "x-systemd.automount",
     "x-gvfs-name=Drive", "X-mount.mkdir", "helper=bitcasafs", "uhelper=x", "relatime", "comment=anything"],
)  # fmt: skip
def test_what_mount_and_fstab_add_is_accepted(word: str) -> None:
    told = parse_options([word])
    assert told.unknown == ()
    assert set(told.values) <= {"ro"}


def test_user_is_a_word_of_mount_and_with_a_value_our_own() -> None:
    assert parse_options(["user"]).values == {}
    assert parse_options(["user=me"]).values == {"user": "me"}


def test_what_nobody_knows_is_named() -> None:
    assert parse_options(["ttl=1s,upload=4,frobnicate"]).unknown == ("upload=4", "frobnicate")


@pytest.mark.parametrize(
    "word",
    ["ttl", "ttl=", "ttl=soon", "uploads=0", "uploads=65", "uploads=many", "data=", "ro=maybe", "cache_size=much",
     "keep_free", "keep_free=5%", "linger", "linger=forever", "settle=-1s", "fsync", "fsync=", "fsync=disk",
     "close=Remote", "coherence=local|remote", "root=some", "local", "local=", "local=*", "local=a::b", "local=:a",
     "local=.git/*", "local=._*:**"],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_an_error_that_names_the_option(word: str) -> None:
    with pytest.raises(ConfigError, match=word.partition("=")[0]):
        parse_options([word])


def test_the_environment_sets_options_too() -> None:
    told = parse_environment({"BITCASAFS_UPLOADS": "7", "BITCASAFS_RO": "yes", "BITCASAFS_TTL": "", "PATH": "/bin"})
    assert told == {"uploads": 7, "ro": True}
    with pytest.raises(ConfigError, match="BITCASAFS_TTL"):
        parse_environment({"BITCASAFS_TTL": "soon"})


def test_several_patterns_of_names_are_one_value() -> None:
    text = ".~lock.*#:.Trash-*:._*:.*.sw?"
    assert parse_options([f"local={text}"]).values == {"local": text}
    assert split_globs(text) == (".~lock.*#", ".Trash-*", "._*", ".*.sw?")


def test_a_choice_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="-o fsync: 'portal' is not `local` or `remote`"):
        parse_options(["fsync=portal"])


@given(st.lists(st.text(min_size=1), max_size=5))
def test_any_text_can_be_written_as_a_word(words: list[str]) -> None:
    written = ",".join(word.replace("\\", "\\\\").replace(",", "\\,") for word in words)
    assert split_words(written) == words
