"""Precedence, and portals' addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitcasafs.errors import ConfigError
from bitcasafs.mount.config import parse_portal, pick
from bitcasafs.options import parse_options


def test_a_flag_counts_more_than_the_environment_and_that_more_than_the_default() -> None:
    told = pick(parse_options(["ttl=1m"]), {"ttl": 2.0, "uploads": 9})
    assert (told.ttl_seconds, told.uploads, told.timeout_seconds) == (60.0, 9, 15.0)


def test_what_is_sent_when_and_for_how_long_is_as_design_has_it_unless_told_otherwise() -> None:
    told = pick(parse_options([]), {})
    assert (told.settle_seconds, told.linger_seconds, told.keep_free_bytes) == (1.0, None, None)
    assert (told.fsync_remote, told.close_remote, told.strict, told.local) == (False, False, False, ())


def test_each_of_them_can_be_told() -> None:
    told = pick(parse_options(["settle=0s,linger=0s,keep_free=0", "fsync=remote,close=remote,coherence=strict"]), {})
    assert (told.settle_seconds, told.linger_seconds, told.keep_free_bytes) == (0.0, 0.0, 0)
    assert (told.fsync_remote, told.close_remote, told.strict) == (True, True, True)
    assert pick(parse_options(["local=._*:.*.sw?"]), {}).local == ("._*", ".*.sw?")


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    told = pick(parse_options(["data=drive,state=~/state"]), {})
    assert (told.drive, told.state) == (tmp_path / "drive", Path("/home/me/state"))


@pytest.mark.parametrize("word", ["root=some", "timeout=0s", "timeout=500ms"])
def test_values_that_cannot_stand_are_named(word: str) -> None:
    with pytest.raises(ConfigError, match=word.partition("=")[0]):
        pick(parse_options([word]), {})


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("portal.example.org", "https://portal.example.org"),
        ("https://portal.example.org/", "https://portal.example.org"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("unix:/run/portal.sock", "unix:/run/portal.sock"),
    ],
)
def test_a_portal_is_https_unless_it_says_otherwise(text: str, plain: str) -> None:
    assert parse_portal(text) == plain


@pytest.mark.parametrize("text", ["ftp://x", "https://", "https://me:secret@x", "https://x:port", "https://x/path"])
def test_what_is_no_portal_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_portal(text)
    assert "secret" not in str(caught.value)
