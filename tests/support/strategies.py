"""Hypothesis strategies for the values of the wire: what a message may hold, and what a stranger may send."""

from __future__ import annotations

import base64
import string
from typing import Any

from hypothesis import strategies as st

from bitcasafs.dialects.discovery import BatchLimits, Extensions
from bitcasafs.dialects.forms import ChangeOptions
from bitcasafs.dialects.listing import ListingQuery
from bitcasafs.values.items import (
    Address,
    AttributeChange,
    Attributes,
    Cursor,
    IdempotencyKey,
    Item,
    Kind,
    NodeId,
    Profile,
    RootKind,
    Version,
)
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
)

INT64 = st.integers(-(2**63), 2**63 - 1)
NANOSECONDS = INT64
_UTF8 = st.characters(codec="utf-8")
text = st.text(_UTF8, max_size=20)


def _is_name(name: str) -> bool:
    return 1 <= len(name.encode()) <= 255 and name not in (".", "..")


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=90).filter(_is_name)
plain_names = st.text(string.ascii_letters + string.digits + " ._-", min_size=1, max_size=30).filter(_is_name)
drive_ids = st.text("0123456789abcdef", min_size=64, max_size=64)
paths = st.builds(lambda drive, parts: "/" + "/".join([drive, *parts]), drive_ids, st.lists(names, max_size=3))
node_ids = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=64).map(NodeId)
versions = st.text(string.ascii_letters + string.digits + "-_=.~", min_size=1, max_size=88).map(Version)
odd_versions = st.text(_UTF8, min_size=1, max_size=40).map(Version)
cursors = st.text(string.digits, min_size=1, max_size=20).map(Cursor)
keys = st.text(string.ascii_letters + string.digits + "-", min_size=16, max_size=64).map(IdempotencyKey)
md5s = st.text("0123456789abcdef", min_size=32, max_size=32)
sizes = st.integers(0, 2**50)

xattrs = st.dictionaries(plain_names.map("user.".__add__), st.binary(max_size=50), max_size=3)
_links = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=50)
_fields: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.integers(0, 0o7777),
    "uid": st.integers(0, 2**32 - 1),
    "gid": st.integers(0, 2**32 - 1),
    "mtime_ns": NANOSECONDS,
    "atime_ns": NANOSECONDS,
    "ctime_ns": NANOSECONDS,
    "btime_ns": NANOSECONDS,
}


@st.composite
def attributes(draw: st.DrawFn, kind: Kind = Kind.FILE) -> Attributes:
    fields = draw(st.fixed_dictionaries({}, optional=_fields))
    if kind is Kind.SYMLINK:
        fields["symlink"] = draw(_links)
    if kind in (Kind.FIFO, Kind.SOCKET):
        fields["special"] = kind.value
    return Attributes(**fields, xattrs=draw(xattrs))


@st.composite
def changes(draw: st.DrawFn) -> AttributeChange:
    values = draw(
        st.fixed_dictionaries(
            {}, optional={**_fields, "symlink": _links, "special": st.sampled_from(["fifo", "socket"])}
        )
    )
    removed = draw(st.frozensets(st.sampled_from([*_fields, "symlink", "special"]))) - set(values)
    xattr = st.dictionaries(plain_names, st.none() | st.binary(max_size=50), max_size=3)
    return AttributeChange(values, frozenset(removed), draw(xattr))


@st.composite
def items(draw: st.DrawFn, *, extensions: bool = True) -> Item:
    kind = draw(st.sampled_from(Kind if extensions else [Kind.FILE, Kind.FOLDER]))
    root = draw(st.none() | st.sampled_from(RootKind)) if kind is Kind.FOLDER else None
    fields: dict[str, Any] = {
        "name": draw(names),
        "path": draw(paths),
        "kind": kind,
        "mtime_ms": draw(st.integers(0, 2**45) | st.floats(0, 2**45)),
        "mirrored": draw(st.booleans()),
        "category": "folders" if kind is Kind.FOLDER else draw(st.sampled_from(["documents", "photos", "other"])),
    }
    if kind is not Kind.FOLDER:
        fields |= {
            "id": base64.urlsafe_b64encode(draw(st.binary(min_size=64, max_size=64))).decode(),
            "size_bytes": draw(sizes),
            "mime": draw(text),
            "extension": draw(text),
            "manifest_name": draw(text),
            "incomplete": draw(st.booleans()),
            "album": draw(st.none() | text),
            "artist": draw(st.none() | text),
        }
    if root is not None:
        fields |= {
            "root": root,
            "mount_point": draw(text),
            "deleted": draw(st.booleans()),
            "origin_device": draw(st.none() | text),
            "origin_device_id": draw(st.none() | text),
        }
    if extensions:
        fields |= {
            "node": draw(node_ids),
            "parent": draw(st.none() | node_ids),
            "revision": draw(st.integers(0, 2**60)),
            "version": None if kind is Kind.FOLDER else draw(st.none() | versions),
            "digests": draw(st.just({}) | st.fixed_dictionaries({"md5": md5s})),
            "attributes": draw(attributes(kind)),
            "nlink": draw(st.integers(1, 5)),
        }
    return Item(**fields)


profiles = st.builds(
    Profile,
    email=text,
    first_name=text,
    last_name=text,
    quota_bytes=st.none() | sizes,
    used_bytes=sizes,
    files=st.none() | sizes,
)
queries = st.builds(
    ListingQuery,
    show_incomplete=st.booleans(),
    top=st.none() | st.integers(0, 2**31),
    bottom=st.none() | st.integers(0, 2**31),
    sort_column=st.sampled_from(["name", "mtime", "size"]),
    sort_ascending=st.booleans(),
)
_counts = st.integers(1, 2**40)
extensions = st.builds(
    Extensions,
    portal=text,
    version=text,
    versions=st.booleans(),
    attributes=st.booleans(),
    batch=st.none() | st.builds(BatchLimits, operations=_counts, bytes=_counts, content=_counts),
    quota=st.booleans(),
    file_bytes=st.none() | sizes,
    others=st.frozensets(st.sampled_from(["tree", "events", "links", "something"])),
)
options = st.builds(
    ChangeOptions,
    exists=st.none() | st.sampled_from(OnExisting),
    if_match=st.none() | versions,
    if_match_target=st.none() | versions,
    parent_mtime_ns=st.none() | NANOSECONDS,
    recursive=st.none() | st.booleans(),
    md5=st.none() | md5s,
    key=st.none() | keys,
)

# --- operations, as they are after the wire: an address by node has the path `/.node/ID` ---------------------------

node_addresses = node_ids.map(lambda node: Address(f"/.node/{node}", node))
addresses = node_addresses | paths.map(Address)
made = st.builds(Made, st.integers(0, 999))
parents = addresses | made
targets = addresses | made | st.builds(Place, node_addresses, names)
_common: dict[str, Any] = {"parent_mtime_ns": st.none() | NANOSECONDS, "key": st.none() | keys}
_exists = {name: OnExisting(name) for name in ("fail", "overwrite", "rename", "merge", "exchange")}


def _choices(*values: str) -> st.SearchStrategy[OnExisting]:
    return st.sampled_from([_exists[value] for value in values])


puts = st.builds(
    Put,
    parent=parents,
    name=names,
    size_bytes=st.integers(0, 200),
    exists=_choices("fail", "overwrite", "rename"),
    if_match=st.none() | versions,
    md5=st.none() | md5s,
    attributes=changes(),
    **_common,
)
operations: st.SearchStrategy[Operation] = st.one_of(
    puts,
    st.builds(Mkdir, parent=parents, name=names, exists=_choices("fail", "merge"), attributes=changes(), **_common),
    st.builds(
        Symlink,
        parent=parents,
        name=names,
        symlink=_links,
        exists=_choices("fail", "overwrite"),
        if_match=st.none() | versions,
        attributes=changes(),
        **_common,
    ),
    st.builds(
        SetAttributes, target=targets, change=changes(), if_revision=st.none() | st.integers(0, 2**40), **_common
    ),
    st.builds(
        Move,
        target=targets,
        parent=parents,
        name=names,
        exists=_choices("fail", "overwrite", "exchange"),
        if_match=st.none() | versions,
        if_match_target=st.none() | versions,
        **_common,
    ),
    st.builds(Delete, target=targets, if_match=st.none() | versions, recursive=st.booleans(), **_common),
)

# --- what a stranger may send -----------------------------------------------------------------------------------

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**310)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["/", "..", "\ud800", "a" * 300, "/.node/x/y/z"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def json_objects(*known: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose known fields hold anything."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(known, json_values))


hostile_bytes = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"[" * 200_000,
            b'{"a":' * 100_000,
            b"9" * 5_000,
            b"NaN",
            b'{"size": 1e999}',
            b'"\\ud800"',
            b"\xff\xfe\x00",
            b"\xed\xa0\x80",
            b"null",
            b"<html>login</html>",
        ]
    ),
)
