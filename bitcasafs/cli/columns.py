"""Rows of words for a terminal, and texts that cannot disturb it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def plain(text: str) -> str:
    """`text` with everything that is no ink as an escape: names may hold line feeds and what a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def in_columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with the columns one below the other, two blanks between; every row has as many."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in listed]
