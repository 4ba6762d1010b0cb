"""Rows of words for a terminal."""

from __future__ import annotations

from bitcasafs.cli.columns import in_columns, plain


def test_columns_stand_one_below_the_other() -> None:
    assert in_columns([("ID", "PATH", "WHY"), ("7", "letter", ""), ("12", "a", "full")]) == [
        "ID  PATH    WHY",
        "7   letter",
        "12  a       full",
    ]


def test_what_a_terminal_would_obey_is_shown_as_an_escape() -> None:
    assert plain("Größe.txt") == "Größe.txt"
    assert plain("a\tb\nc\x1b[2Jd\u202e") == "a\\tb\\nc\\x1b[2Jd\\u202e"
