"""Rows of nodes as values, and values as rows and items. No query is made here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause

from bitcasafs.dialects.attributes import decode_attributes, encode_attributes
from bitcasafs.dialects.media import category_of, extension_of, mime_of
from bitcasafs.server.metadata.schema import drives, nodes, versions
from bitcasafs.server.metadata.tokens import Tokens
from bitcasafs.values.items import Attributes, Item, Kind, NodeId, RootKind, Version

_SPECIALS = {"fifo": Kind.FIFO, "socket": Kind.SOCKET, None: Kind.FILE}
MIME_OF_LINKS = "inode/symlink"
_NO_XATTRS: dict[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Content:
    """The content that a file has now: a row of `versions`."""

    id: int
    token: Version
    digest: bytes
    size_bytes: int
    md5: str


@dataclass(frozen=True, slots=True)
class Node:
    """A row of `nodes` with its current content (None for folders). `attributes.mtime_ns`, `ctime_ns` are not None."""

    id: int
    token: NodeId
    drive: int
    folder: bool
    revision: int
    attributes: Attributes
    nlink: int
    content: Content | None
    deleted_ns: int | None = None

    @property
    def size_bytes(self) -> int:
        return 0 if self.content is None else self.content.size_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an entry is: the folder's number, and the name in it."""

    parent: int
    name: str


@dataclass(frozen=True, slots=True)
class Drive:
    """A row of `drives`."""

    id: int
    public: str
    kind: RootKind
    name: str
    root: int
    cursor: int
    serial: int
    used_bytes: int
    files: int

    @property
    def mirrored(self) -> bool:
        return self.kind is not RootKind.DRIVE


NODE_COLUMNS: tuple[ColumnElement[Any], ...] = (
    nodes.c.id,
    nodes.c.token,
    nodes.c.drive,
    nodes.c.folder,
    nodes.c.revision,
    nodes.c.mode,
    nodes.c.uid,
    nodes.c.gid,
    nodes.c.mtime_ns,
    nodes.c.atime_ns,
    nodes.c.ctime_ns,
    nodes.c.btime_ns,
    nodes.c.symlink,
    nodes.c.special,
    nodes.c.xattrs,
    nodes.c.nlink,
    nodes.c.deleted_ns,
    versions.c.id.label("version_id"),
    versions.c.token.label("version_token"),
    versions.c.digest,
    versions.c.size_bytes,
    versions.c.md5,
)
"""What `read_node` takes, in this order."""

NODES_WITH_CONTENT: FromClause = nodes.outerjoin(versions, versions.c.id == nodes.c.version)

DRIVE_COLUMNS: tuple[ColumnElement[Any], ...] = (
    drives.c.id,
    drives.c.public,
    drives.c.kind,
    drives.c.name,
    drives.c.root,
    drives.c.cursor,
    drives.c.serial,
    drives.c.used_bytes,
    drives.c.files,
)


def read_node(row: Sequence[Any]) -> Node:
    (
        number, token, drive, folder, revision,
        mode, uid, gid, mtime_ns, atime_ns, ctime_ns, btime_ns, symlink, special, xattrs,
        nlink, deleted_ns,
        version_id, version_token, digest, size_bytes, md5,
    ) = row  # fmt: skip
    return Node(
        number,
        token,
        drive,
        folder,
        revision,
        Attributes(
            mode, uid, gid, mtime_ns, atime_ns, ctime_ns, btime_ns, symlink, special,
            _NO_XATTRS if xattrs is None else decode_attributes({"xattrs": json.loads(xattrs)}).xattrs,
        ),
        nlink,
        None if version_id is None else Content(version_id, version_token, digest, size_bytes, md5),
        deleted_ns,
    )  # fmt: skip


def read_drive(row: Sequence[Any]) -> Drive:
    number, public, kind, *rest = row
    return Drive(number, public, RootKind(kind), *rest)


def node_values(node: Node) -> dict[str, Any]:
    """Everything of the row that can change."""
    attributes = node.attributes
    xattrs = attributes.xattrs and encode_attributes(Attributes(xattrs=attributes.xattrs))["xattrs"]
    return {
        "revision": node.revision,
        "version": node.content.id if node.content is not None else None,
        "mode": attributes.mode,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "mtime_ns": attributes.mtime_ns,
        "atime_ns": attributes.atime_ns,
        "ctime_ns": attributes.ctime_ns,
        "btime_ns": attributes.btime_ns,
        "symlink": attributes.symlink,
        "special": attributes.special,
        "xattrs": json.dumps(xattrs, separators=(",", ":")) if xattrs else None,
        "nlink": node.nlink,
        "deleted_ns": node.deleted_ns,
    }


def kind_of(node: Node) -> Kind:
    if node.folder:
        return Kind.FOLDER
    return Kind.SYMLINK if node.attributes.symlink is not None else _SPECIALS[node.attributes.special]


def item_of(node: Node, name: str, path: str, parent: NodeId, *, mirrored: bool, tokens: Tokens) -> Item:
    """One row of a listing: the entry `name` of the folder `parent`. `path` is the entry's, whole."""
    mtime_ms = (node.attributes.mtime_ns or 0) // 1_000_000
    content = node.content
    if content is None:
        return Item(
            name, path, Kind.FOLDER, mtime_ms, mirrored, "folders",
            node=node.token, parent=parent, revision=node.revision, attributes=node.attributes,
        )  # fmt: skip
    kind = kind_of(node)
    extension = extension_of(name)
    mime, category = _media(extension)
    return Item(
        name,
        path,
        kind,
        mtime_ms,
        mirrored,
        category,
        tokens.file_id(content.token),
        content.size_bytes,
        MIME_OF_LINKS if kind is Kind.SYMLINK else mime,
        extension,
        node=node.token,
        parent=parent,
        version=content.token,
        revision=node.revision,
        digests={"md5": content.md5},
        attributes=node.attributes,
        nlink=node.nlink,
    )


def root_item(node: Node, drive: Drive) -> Item:
    """A drive or a mirror as the portal's root lists it."""
    return Item(
        drive.name,
        f"/{drive.public}",
        Kind.FOLDER,
        (node.attributes.mtime_ns or 0) // 1_000_000,
        drive.mirrored,
        "folders",
        node=node.token,
        revision=node.revision,
        attributes=node.attributes,
        root=drive.kind,
        mount_point="/",
    )


@lru_cache(maxsize=4096)
def _media(extension: str) -> tuple[str, str]:
    """MIME type and category, which depend on nothing else."""
    mime = mime_of(f"x.{extension}")
    return mime, category_of("", mime)
