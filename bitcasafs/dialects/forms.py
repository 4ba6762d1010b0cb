"""Part 1's changes: rename, delete, making a folder, and the answer of an upload (portal protocol 1.7 to 1.9).

Bodies are urlencoded whatever their Content-Type says or does not say. Conditions come as further fields: `options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from bitcasafs.dialects.fields import as_object, as_text, json_bytes, parse_json, parse_object, refusing, sequence, text
from bitcasafs.dialects.items import decode_item, encode_item
from bitcasafs.dialects.messages import IDEMPOTENCY_KEY
from bitcasafs.dialects.options import ChangeOptions, encode_options, parse_options
from bitcasafs.errors import Malformed, ProtocolError
from bitcasafs.values.items import Item

__all__ = [
    "IDEMPOTENCY_KEY",
    "ChangeOptions",
    "FolderAnswer",
    "Rename",
    "Selection",
    "decode_done",
    "decode_folder_answer",
    "decode_upload_answer",
    "encode_delete",
    "encode_folder_answer",
    "encode_form",
    "encode_options",
    "encode_rename",
    "encode_upload_answer",
    "parse_delete",
    "parse_form",
    "parse_options",
    "parse_rename",
]

DONE = b"OK"
MAX_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Rename:
    """Plain paths, both whole; `source` also `/.node/ID`, `destination` also `/.node/PARENT/name`."""

    source: str
    destination: str
    options: ChangeOptions = ChangeOptions()


@dataclass(frozen=True, slots=True)
class Selection:
    """What a delete (later a zip or a share) is about. Our servers take paths; the library's groups stay empty."""

    paths: tuple[str, ...] = ()
    options: ChangeOptions = ChangeOptions()


@dataclass(frozen=True, slots=True)
class FolderAnswer:
    """The folder, and whether it was made now (else a folder of that name was there)."""

    item: Item
    created: bool


def encode_form(fields: Mapping[str, str]) -> bytes:
    """An urlencoded body."""
    return urlencode(fields, errors="surrogatepass").encode("ascii")


def parse_form(body: bytes) -> dict[str, str]:
    """The fields of an urlencoded body; the first of several counts. Malformed: not UTF-8, or too many."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, encoding="utf-8"
        )
    except ValueError:
        raise Malformed(f"the form is not UTF-8, or has more than {MAX_FIELDS} fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def encode_rename(rename: Rename) -> tuple[bytes, dict[str, str]]:
    """Body and headers of `POST /rename/`."""
    fields, headers = encode_options(rename.options)
    return encode_form({"from": rename.source, "to": rename.destination, **fields}), headers


def parse_rename(body: bytes, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> Rename:
    """Malformed when `from` or `to` is missing or a condition is not understood."""
    fields = parse_form(body)
    if not fields.get("from") or not fields.get("to"):
        raise Malformed("a rename needs the fields from and to")
    return Rename(fields["from"], fields["to"], parse_options({**(query or {}), **fields}, headers))


def encode_delete(selection: Selection) -> tuple[bytes, dict[str, str]]:
    """Body and headers of `POST /delete`."""
    chosen = {"paths": list(selection.paths), "albums": {}, "artists": [], "photo_albums": []}
    fields, headers = encode_options(selection.options)
    return encode_form({"selection": json_bytes(chosen).decode("utf-8"), **fields}), headers


def parse_delete(body: bytes, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> Selection:
    """Malformed when there is no selection, or it names no path."""
    fields = parse_form(body)
    if "selection" not in fields:
        raise Malformed("a delete needs the field selection")
    with refusing():
        chosen = parse_object(fields["selection"].encode("utf-8"), "selection")
        paths = tuple(as_text(path, "selection: a path") for path in sequence(chosen, "paths", "selection", ()))
    if not paths:
        raise Malformed("the selection names no path")
    return Selection(paths, parse_options({**(query or {}), **fields}, headers))


def decode_done(body: bytes) -> None:
    """The answer of a rename or a delete is `OK`, or JSON. ProtocolError for a page of HTML, which is no answer."""
    if body.strip()[:1] == b"<":
        raise ProtocolError("the answer of a change is a page", body[:100])


def encode_folder_answer(item: Item, *, created: bool, extensions: bool) -> dict[str, Any]:
    """The JSON object that answers `POST /directory{parent}/{name}`."""
    return {"status": "created" if created else "existing", "items": [encode_item(item, extensions=extensions)]}


def decode_folder_answer(body: bytes) -> FolderAnswer:
    """ProtocolError."""
    what = "new folder"
    answer = parse_object(body, what)
    status = text(answer, "status", what)
    items = sequence(answer, "items", what)
    if status not in ("created", "existing") or not items:
        raise ProtocolError(f"{what}: neither created nor existing, or no item", status)
    item = decode_item(items[0], f"{what}: item")
    if not item.is_folder:
        raise ProtocolError(f"{what}: the item is a file", item.name)
    return FolderAnswer(item, status == "created")


def encode_upload_answer(item: Item, *, extensions: bool) -> list[dict[str, Any]]:
    """The JSON array that answers an upload."""
    return [encode_item(item, extensions=extensions)]


def decode_upload_answer(body: bytes) -> Item:
    """The new item: the first of an array, or a single object, as some portals answered. ProtocolError."""
    value = parse_json(body, "upload")
    if isinstance(value, list):
        if not value:
            raise ProtocolError("upload: no item was answered", value)
        value = value[0]
    return decode_item(as_object(value, "upload"), "upload")
