"""Listings: the query, and the two shapes of the answer (portal protocol 1.4).

An array when neither `top` nor `bottom` was sent, else an object with the window. Our client never asks for a window:
windows of a folder that changes skip and repeat rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitcasafs.dialects.fields import as_object, json_bytes, parse_json, sequence
from bitcasafs.dialects.items import decode_item, encode_item
from bitcasafs.errors import ProtocolError
from bitcasafs.values.items import Item

DEFAULT_TOP, DEFAULT_BOTTOM = 0, 500
SORT_COLUMNS = ("name", "mtime", "size")
_ROW_LIMIT = 2**31


@dataclass(frozen=True, slots=True)
class ListingQuery:
    """What to list. `top` and `bottom` are row indexes, half-open; both None: everything, as a bare array."""

    show_incomplete: bool = False
    top: int | None = None
    bottom: int | None = None
    sort_column: str = "name"
    sort_ascending: bool = True

    @property
    def window(self) -> bool:
        """Whether the client asked for an index window, and so gets the object."""
        return self.top is not None or self.bottom is not None

    @property
    def start(self) -> int:
        """First row to answer."""
        return self.top if self.top is not None else DEFAULT_TOP

    @property
    def stop(self) -> int | None:
        """The row after the last; None: to the end."""
        if not self.window:
            return None
        return max(self.start, self.bottom if self.bottom is not None else DEFAULT_BOTTOM)

    def encode(self) -> dict[str, str]:
        """Query parameters; only what differs from the defaults."""
        query = {}
        if self.show_incomplete:
            query["show-incomplete"] = "true"
        if self.top is not None:
            query["top"] = str(self.top)
        if self.bottom is not None:
            query["bottom"] = str(self.bottom)
        if self.sort_column != "name":
            query["sort_column"] = self.sort_column
        if not self.sort_ascending:
            query["sort_ascending"] = "false"
        return query

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> ListingQuery:
        """Never raises: what cannot be understood has its default, since old clients send stray values."""
        column = query.get("sort_column", "name")
        return cls(
            show_incomplete=truth(query.get("show-incomplete"), False),
            top=_row(query.get("top"), DEFAULT_TOP),
            bottom=_row(query.get("bottom"), DEFAULT_BOTTOM),
            sort_column=column if column in SORT_COLUMNS else "name",
            sort_ascending=truth(query.get("sort_ascending"), True),
        )


def encode_listing(
    items: Iterable[Item], query: ListingQuery, *, name: str, total: int, extensions: bool
) -> list[dict[str, Any]] | dict[str, Any]:
    """The JSON value of an answer. `items` are the rows of the query's window, `total` the rows of the folder.

    `range.bottom` tells where the rows sent really end: a client that takes it for its next `top` reads on.
    """
    rows = [encode_item(item, extensions=extensions) for item in items]
    if not query.window:
        return rows
    return {
        "name": name,
        "length": total,
        "range": {"top": query.start, "bottom": query.start + len(rows)},
        "sentinel": None,
        "items": rows,
    }


def listing_pieces(
    items: Iterable[Item], query: ListingQuery, *, name: str, total: int | None, extensions: bool
) -> Iterator[bytes]:
    """The same JSON as `encode_listing` has it, as text in pieces: the beginning, one for each item, the end. `items`
    is read as the pieces are taken, so that a folder of any length is sent without being held. `total` matters only
    to a window."""
    yield b'{"items":[' if query.window else b"["
    rows = 0
    for item in items:
        row = json_bytes(encode_item(item, extensions=extensions))
        yield b"," + row if rows else row
        rows += 1
    if not query.window:
        yield b"]"
        return
    window = {"top": query.start, "bottom": query.start + rows}
    # What is written before `items` in `encode_listing` comes after them here: the end is known last.
    yield b"]," + json_bytes({"name": name, "length": total, "range": window, "sentinel": None})[1:]


def decode_listing(body: bytes) -> tuple[Item, ...]:
    """The items of either shape. ProtocolError."""
    value = parse_json(body, "listing")
    rows: Sequence[Any] = (
        value if isinstance(value, list) else sequence(as_object(value, "listing"), "items", "listing")
    )
    return tuple(decode_item(row, f"listing: item {index}") for index, row in enumerate(rows))


def decode_window(body: bytes) -> tuple[tuple[Item, ...], int, int]:
    """Items, row after the last, and rows in all, of the object shape. ProtocolError for anything else."""
    from_object = as_object(parse_json(body, "listing"), "listing")
    window = as_object(from_object.get("range"), "listing: 'range'")
    bottom, length = window.get("bottom"), from_object.get("length")
    if not (isinstance(bottom, int) and isinstance(length, int)) or bottom < 0 or length < 0:
        raise ProtocolError("listing: 'range' and 'length' are not row numbers", (bottom, length))
    return decode_listing(body), bottom, length


def truth(value: str | None, default: bool) -> bool:
    """How the portal's clients spell a boolean in a query."""
    if value is None or value.strip() == "":
        return default
    return value.strip().lower() not in ("false", "0", "no", "none")


def _row(value: str | None, default: int) -> int | None:
    if value is None:
        return None
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
        return default
    return min(int(digits), _ROW_LIMIT)
