"""Items on the wire, both ways: part 1's fields always, ours beside them where the portal has extensions.

Source: portal protocol 1.4, 2.1, 2.4. `decode_item` raises ProtocolError and nothing else; fields that it does not know
are ignored, and so are null ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bitcasafs.dialects.attributes import (
    check_xattrs,
    decode_attributes,
    decode_change,
    encode_attributes,
    encode_change,
)
from bitcasafs.dialects.fields import (
    JsonObject,
    as_object,
    as_text,
    boolean,
    choice,
    integer,
    mapping,
    number,
    optional_integer,
    optional_text,
    text,
)
from bitcasafs.dialects.media import UNKNOWN_MIME, category_of, extension_of, mime_of
from bitcasafs.dialects.names import check_name, check_node, join_path
from bitcasafs.errors import NameInvalid, NotFound, ProtocolError
from bitcasafs.values.items import Attributes, Item, Kind, NodeId, RootKind, Version

__all__ = [
    "category_of",
    "check_xattrs",
    "decode_attributes",
    "decode_change",
    "decode_item",
    "encode_attributes",
    "encode_change",
    "encode_item",
    "extension_of",
    "mime_of",
]

_KIND_BY_SPECIAL: Mapping[str | None, Kind] = {"fifo": Kind.FIFO, "socket": Kind.SOCKET, None: Kind.FILE}


def encode_item(item: Item, *, extensions: bool) -> dict[str, Any]:
    """The JSON object of an item. Without extensions: exactly the fields of part 1."""
    fields: dict[str, Any] = {
        "name": item.name,
        "path": item.path,
        "type": 1 if item.is_folder else 0,
        "category": "folders" if item.is_folder else item.category,
        "mtime": item.mtime_ms,
        "mirrored": item.mirrored,
    }
    if not item.is_folder:
        fields |= {
            "id": item.id,
            "size": item.size_bytes,
            "mime": item.mime,
            "extension": item.extension,
            "manifest_name": item.manifest_name,
            "duplicates": [],
            "incomplete": item.incomplete,
            "album": item.album,
            "artist": item.artist,
        }
    if item.root is not None:
        fields |= {
            "mount_point": item.mount_point,
            "deleted": item.deleted,
            "origin_device": item.origin_device,
            "origin_device_id": item.origin_device_id,
            "sync_type": item.root.value,
        }
    if extensions:
        fields |= _extension_fields(item)
    return fields


def _extension_fields(item: Item) -> dict[str, Any]:
    fields: dict[str, Any] = {"node": item.node, "revision": item.revision}
    if item.parent is not None:
        fields["parent"] = item.parent
    if item.version is not None:
        fields["version"] = item.version
    if item.digests:
        fields["digests"] = dict(item.digests)
    if item.nlink != 1:
        fields["nlink"] = item.nlink
    attributes = encode_attributes(item.attributes)
    if attributes:
        fields["attributes"] = attributes
    return fields


def decode_item(obj: object, what: str = "item") -> Item:
    """An item from one JSON object of a listing, an upload's answer, a batch's line."""
    fields = as_object(obj, what)
    is_folder = integer(fields, "type", what, minimum=0, maximum=1) == 1
    attributes = decode_attributes(mapping(fields, "attributes", what, {}), f"{what}: attributes")
    name = _name(fields, what)
    root = choice(fields, "sync_type", what, RootKind) if fields.get("sync_type") is not None else None
    version = optional_text(fields, "version", what)
    return Item(
        name=name,
        path=_path(fields, what),
        kind=_kind(is_folder, attributes),
        mtime_ms=number(fields, "mtime", what, 0),
        mirrored=boolean(fields, "mirrored", what, False),
        category=text(fields, "category", what, "folders" if is_folder else "other"),
        id=None if is_folder else optional_text(fields, "id", what),
        size_bytes=0 if is_folder else integer(fields, "size", what, minimum=0),
        mime=UNKNOWN_MIME if is_folder else _or(optional_text(fields, "mime", what), mime_of, name),
        extension="" if is_folder else _or(optional_text(fields, "extension", what), extension_of, name),
        manifest_name="" if is_folder else text(fields, "manifest_name", what, ""),
        incomplete=False if is_folder else boolean(fields, "incomplete", what, False),
        album=None if is_folder else optional_text(fields, "album", what),
        artist=None if is_folder else optional_text(fields, "artist", what),
        node=_node(fields, "node", what),
        parent=_node(fields, "parent", what),
        version=None if version is None else Version(version),
        revision=optional_integer(fields, "revision", what, minimum=0),
        digests=_digests(fields, what),
        attributes=attributes,
        nlink=integer(fields, "nlink", what, 1, minimum=1),
        root=root,
        mount_point=optional_text(fields, "mount_point", what),
        deleted=boolean(fields, "deleted", what, False),
        origin_device=optional_text(fields, "origin_device", what),
        origin_device_id=optional_text(fields, "origin_device_id", what),
    )


def _or(given: str | None, guess: Callable[[str], str], name: str) -> str:
    return guess(name) if given is None else given


def _kind(is_folder: bool, attributes: Attributes) -> Kind:
    if is_folder:
        return Kind.FOLDER
    return Kind.SYMLINK if attributes.symlink is not None else _KIND_BY_SPECIAL[attributes.special]


def _name(fields: JsonObject, what: str) -> str:
    name = text(fields, "name", what)
    try:
        return check_name(name)
    except NameInvalid:
        raise ProtocolError(f"{what}: 'name' is not a name", name) from None


def _path(fields: JsonObject, what: str) -> str:
    path = text(fields, "path", what)
    names = [part for part in path.split("/") if part]
    if not names or not path.startswith("/"):
        raise ProtocolError(f"{what}: 'path' is not a path", path)
    return join_path(*names)


def _node(fields: JsonObject, key: str, what: str) -> NodeId | None:
    node = optional_text(fields, key, what)
    try:
        return None if node is None else check_node(node)
    except NotFound:
        raise ProtocolError(f"{what}: {key!r} is not a node", node) from None


def _digests(fields: JsonObject, what: str) -> dict[str, str]:
    digests = mapping(fields, "digests", what, {})
    where = f"{what}: digests"
    return {as_text(name, where): as_text(value, where) for name, value in digests.items()}
