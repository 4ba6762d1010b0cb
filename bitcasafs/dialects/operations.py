"""The operations of a batch as JSON objects, both ways (portal protocol 2.2), and their digest for repeats (2.3).

`{"op": "mkdir" | "put" | "symlink" | "attributes" | "move" | "delete", ...}`. A target is one of `{"node": ID}`,
`{"parent": ID, "name": N}`, `{"path": P}`, `{"op": i}`. Decoding raises Malformed, NameInvalid, NameNotUtf8 or
NotFound, which are answers to that operation alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from bitcasafs.dialects.attributes import check_symlink, decode_change, encode_change
from bitcasafs.dialects.fields import (
    JsonObject,
    as_object,
    as_text,
    boolean,
    choice,
    integer,
    mapping,
    optional_integer,
    optional_text,
    refusing,
    text,
)
from bitcasafs.dialects.messages import check_key
from bitcasafs.dialects.names import NodeTarget, check_name, check_node, node_path, parse_target
from bitcasafs.dialects.options import VERSION_CHARACTERS, parse_md5
from bitcasafs.errors import ProtocolError
from bitcasafs.values.items import Address, IdempotencyKey, NodeId, Version
from bitcasafs.values.operations import (
    Delete,
    Made,
    Mkdir,
    Move,
    OnExisting,
    Operation,
    Place,
    Put,
    SetAttributes,
    Symlink,
    Target,
)

_FAIL = OnExisting.FAIL
_CHOICES: Mapping[str, tuple[OnExisting, ...]] = {
    "mkdir": (_FAIL, OnExisting.MERGE),
    "put": (_FAIL, OnExisting.OVERWRITE, OnExisting.RENAME),
    "symlink": (_FAIL, OnExisting.OVERWRITE),
    "move": (_FAIL, OnExisting.OVERWRITE, OnExisting.EXCHANGE),
}


def encode_target(target: Target) -> dict[str, Any]:
    """By identity where it is known, else by path."""
    if isinstance(target, Made):
        return {"op": target.op}
    if isinstance(target, Place):
        if target.parent.node is not None:
            return {"parent": target.parent.node, "name": target.name}
        return {"path": target.parent.child(target.name).path}
    return {"path": target.path} if target.node is None else {"node": target.node}


def decode_target(obj: object, what: str = "target") -> Target:
    """An Address by node has the path `/.node/ID`; a path that says the same becomes the same value."""
    fields = as_object(obj, what)
    forms = [form for form in ("node", "parent", "path", "op") if fields.get(form) is not None]
    if len(forms) != 1:
        raise ProtocolError(f"{what}: exactly one of node, parent, path and op is needed", list(fields)[:12])
    if forms == ["op"]:
        return Made(integer(fields, "op", what, minimum=0))
    if forms == ["node"]:
        return node_address(check_node(text(fields, "node", what)))
    if forms == ["parent"]:
        return Place(node_address(check_node(text(fields, "parent", what))), check_name(text(fields, "name", what)))
    path = text(fields, "path", what)
    named = parse_target(path)
    if not isinstance(named, NodeTarget):
        return Address("/" + "/".join(part for part in path.split("/") if part))
    address = node_address(named.node)
    return address if named.name is None else Place(address, named.name)


def node_address(node: NodeId) -> Address:
    """The address of a node whose path is not known."""
    return Address(node_path(node), node)


def encode_fields(operation: Operation) -> dict[str, Any]:
    """The JSON object; what is absent or the default is left out, except `size` and `exists`."""
    fields: dict[str, Any] = {"op": _NAME[type(operation)]}
    if isinstance(operation, SetAttributes):
        fields |= {"target": encode_target(operation.target), "set": encode_change(operation.change)}
        _add(fields, if_revision=operation.if_revision)
    elif isinstance(operation, Delete):
        fields["target"] = encode_target(operation.target)
        _add(fields, if_match=operation.if_match, recursive=operation.recursive or None)
    elif isinstance(operation, Move):
        fields["target"] = encode_target(operation.target)
        fields |= _entry(operation)
        _add(fields, if_match=operation.if_match, if_match_target=operation.if_match_target)
    else:
        fields |= _entry(operation)
        if isinstance(operation, Put):
            fields["size"] = operation.size_bytes
            _add(fields, if_match=operation.if_match, md5=operation.md5)
        elif isinstance(operation, Symlink):
            fields["target"] = operation.symlink
            _add(fields, if_match=operation.if_match)
        _add(fields, attributes=encode_change(operation.attributes) or None)
    _add(fields, parent_mtime_ns=operation.parent_mtime_ns, key=operation.key)
    return fields


def decode_fields(fields: JsonObject) -> Operation:
    """The operation of a JSON object. Malformed, NameInvalid, NameNotUtf8, NotFound, Unsupported."""
    with refusing():
        name = text(fields, "op", "operation")
        decode = _DECODERS.get(name)
        if decode is None:
            raise ProtocolError("operation: 'op' is not one that is known", name)
        return decode(fields, name)


def operation_digest(operation: Operation, content_md5: str | None = None) -> str:
    """Hex digest of what was asked for, its key apart: the same key with another digest is another request.

    `content_md5`: hex, of the bytes that came with a Put. Targets count as they are written, `Made` with its number.
    """
    fields = encode_fields(operation)
    fields.pop("key", None)
    fields["content"] = content_md5
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode("ascii")).hexdigest()


def _entry(operation: Mkdir | Put | Symlink | Move) -> dict[str, Any]:
    return {"parent": encode_target(operation.parent), "name": operation.name, "exists": operation.exists.value}


def _add(fields: dict[str, Any], **optional: object) -> None:
    fields.update({key: value for key, value in optional.items() if value is not None})


def _parent(fields: JsonObject, what: str) -> Address | Made:
    target = decode_target(fields.get("parent"), f"{what}: 'parent'")
    if isinstance(target, Place):
        return Address(node_path(NodeId(str(target.parent.node)), target.name))
    return target


def _exists(fields: JsonObject, what: str) -> OnExisting:
    chosen = choice(fields, "exists", what, OnExisting, _FAIL)
    if chosen not in _CHOICES[what]:
        raise ProtocolError(f"{what}: 'exists' is not one of {[known.value for known in _CHOICES[what]]}", chosen.value)
    return chosen


def _condition(fields: JsonObject, key: str, what: str) -> Version | None:
    """A version, or a revision as a number or in decimal."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return Version(str(integer(fields, key, what, minimum=0)))
    version = as_text(value, f"{what}: {key!r}")
    if not 1 <= len(version) <= VERSION_CHARACTERS:
        raise ProtocolError(f"{what}: {key!r} is not a version", version)
    return Version(version)


def _key(fields: JsonObject, what: str) -> IdempotencyKey | None:
    key = optional_text(fields, "key", what)
    return None if key is None else check_key(key)


def _mkdir(fields: JsonObject, what: str) -> Operation:
    return Mkdir(
        parent=_parent(fields, what),
        name=check_name(text(fields, "name", what)),
        exists=_exists(fields, what),
        attributes=decode_change(mapping(fields, "attributes", what, {}), f"{what}: attributes"),
        parent_mtime_ns=optional_integer(fields, "parent_mtime_ns", what),
        key=_key(fields, what),
    )


def _put(fields: JsonObject, what: str) -> Operation:
    return Put(
        parent=_parent(fields, what),
        name=check_name(text(fields, "name", what)),
        size_bytes=integer(fields, "size", what, minimum=0),
        exists=_exists(fields, what),
        if_match=_condition(fields, "if_match", what),
        md5=parse_md5(optional_text(fields, "md5", what)),
        attributes=decode_change(mapping(fields, "attributes", what, {}), f"{what}: attributes"),
        parent_mtime_ns=optional_integer(fields, "parent_mtime_ns", what),
        key=_key(fields, what),
    )


def _symlink(fields: JsonObject, what: str) -> Operation:
    return Symlink(
        parent=_parent(fields, what),
        name=check_name(text(fields, "name", what)),
        symlink=check_symlink(text(fields, "target", what), f"{what}: 'target'"),
        exists=_exists(fields, what),
        if_match=_condition(fields, "if_match", what),
        attributes=decode_change(mapping(fields, "attributes", what, {}), f"{what}: attributes"),
        parent_mtime_ns=optional_integer(fields, "parent_mtime_ns", what),
        key=_key(fields, what),
    )


def _attributes(fields: JsonObject, what: str) -> Operation:
    return SetAttributes(
        target=decode_target(fields.get("target"), f"{what}: 'target'"),
        change=decode_change(mapping(fields, "set", what), f"{what}: set"),
        if_revision=optional_integer(fields, "if_revision", what, minimum=0),
        parent_mtime_ns=optional_integer(fields, "parent_mtime_ns", what),
        key=_key(fields, what),
    )


def _move(fields: JsonObject, what: str) -> Operation:
    return Move(
        target=decode_target(fields.get("target"), f"{what}: 'target'"),
        parent=_parent(fields, what),
        name=check_name(text(fields, "name", what)),
        exists=_exists(fields, what),
        if_match=_condition(fields, "if_match", what),
        if_match_target=_condition(fields, "if_match_target", what),
        parent_mtime_ns=optional_integer(fields, "parent_mtime_ns", what),
        key=_key(fields, what),
    )


def _delete(fields: JsonObject, what: str) -> Operation:
    return Delete(
        target=decode_target(fields.get("target"), f"{what}: 'target'"),
        if_match=_condition(fields, "if_match", what),
        recursive=boolean(fields, "recursive", what, False),
        parent_mtime_ns=optional_integer(fields, "parent_mtime_ns", what),
        key=_key(fields, what),
    )


_NAME: Mapping[type[Operation], str] = {
    Mkdir: "mkdir",
    Put: "put",
    Symlink: "symlink",
    SetAttributes: "attributes",
    Move: "move",
    Delete: "delete",
}
_DECODERS: Mapping[str, Callable[[JsonObject, str], Operation]] = {
    "mkdir": _mkdir,
    "put": _put,
    "symlink": _symlink,
    "attributes": _attributes,
    "move": _move,
    "delete": _delete,
}
