"""The operations that make a name or give it new content: mkdir, put, symlink (protocol 2.2).

Each function makes all its checks, then all its changes. Errors: those of `view`, Rejected, NameInvalid, ReadOnly,
QuotaExceeded, Malformed, ChecksumMismatch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bitcasafs.dialects.names import check_name, numbered
from bitcasafs.errors import ChecksumMismatch, Exists, IsFolder, Malformed
from bitcasafs.server.metadata.interface import EMPTY_MD5, EMPTY_SHA256, StoredContent
from bitcasafs.server.metadata.rejection import Rejected, check_condition
from bitcasafs.server.metadata.rows import Entry, Node
from bitcasafs.server.metadata.tree import Tree
from bitcasafs.server.metadata.view import Where
from bitcasafs.values.items import AttributeChange, Attributes, IdempotencyKey, Version
from bitcasafs.values.operations import Mkdir, OnExisting, Put, Symlink

CREATED, OK = 201, 200
_EMPTY = StoredContent(EMPTY_SHA256, EMPTY_MD5, 0)


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation made or changed; `node` None: it is gone."""

    status: int
    node: Node | None = None
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class _Filling:
    """What put and symlink have in common."""

    parent: Where
    name: str
    content: StoredContent
    exists: OnExisting
    if_match: Version | None
    attributes: AttributeChange
    parent_mtime_ns: int | None
    key: IdempotencyKey | None


def mkdir(tree: Tree, operation: Mkdir, parent: Where) -> Done:
    if operation.exists not in (OnExisting.FAIL, OnExisting.MERGE):
        raise Malformed(f"mkdir does not know exists={operation.exists.value}")
    folder = tree.changeable_folder(parent)
    entry = Entry(folder.id, check_name(operation.name))
    present = tree.child(folder, entry.name)
    if present is not None:
        if present.folder and operation.exists is OnExisting.MERGE:
            return Done(OK, present, entry)
        raise _taken(tree, present, entry)
    attributes = tree.merged(Attributes(), operation.attributes, folder=True, size_bytes=0)
    node = tree.add(entry, attributes, None)
    tree.note("put", node, entry, operation.key)
    tree.touch(folder.id, operation.parent_mtime_ns)
    return Done(CREATED, node, entry)


def put(tree: Tree, operation: Put, parent: Where, content: StoredContent) -> Done:
    if content.size_bytes != operation.size_bytes:
        raise Malformed(f"{operation.size_bytes} bytes were announced, and {content.size_bytes} came")
    if operation.md5 is not None and operation.md5.lower() != content.md5:
        raise ChecksumMismatch("what came does not have the md5 it was sent with", applied=False)
    if operation.exists not in (OnExisting.FAIL, OnExisting.OVERWRITE, OnExisting.RENAME):
        raise Malformed(f"put does not know exists={operation.exists.value}")
    attributes = operation.attributes
    # What has content is no link any more, and what is put is a special file only when this says so.
    removed = {key for key in ("symlink", "special") if key not in attributes.values}
    return _fill(
        tree,
        _Filling(
            parent,
            operation.name,
            content,
            operation.exists,
            operation.if_match,
            replace(attributes, removed=attributes.removed | removed),
            operation.parent_mtime_ns,
            operation.key,
        ),
    )


def symlink(tree: Tree, operation: Symlink, parent: Where) -> Done:
    if operation.exists not in (OnExisting.FAIL, OnExisting.OVERWRITE):
        raise Malformed(f"symlink does not know exists={operation.exists.value}")
    given = operation.attributes
    attributes = AttributeChange(
        {**given.values, "symlink": operation.symlink}, given.removed - {"symlink"} | {"special"}, given.xattrs
    )
    return _fill(
        tree,
        _Filling(
            parent,
            operation.name,
            _EMPTY,
            operation.exists,
            operation.if_match,
            attributes,
            operation.parent_mtime_ns,
            operation.key,
        ),
    )


def _fill(tree: Tree, filling: _Filling) -> Done:
    folder = tree.changeable_folder(filling.parent)
    entry = Entry(folder.id, check_name(filling.name))
    present = tree.child(folder, entry.name)
    if present is not None and filling.exists is OnExisting.FAIL:
        raise _taken(tree, present, entry)
    if present is not None and present.folder and filling.exists is OnExisting.OVERWRITE:
        raise Rejected(IsFolder(f"{entry.name!r} is a folder"), tree.item(present, entry))
    check_condition(tree, filling.if_match, present, entry)
    if present is not None and filling.exists is OnExisting.RENAME:
        entry, present = Entry(folder.id, _free_name(tree, folder, entry.name)), None
    size_bytes = filling.content.size_bytes
    attributes = tree.merged(
        Attributes() if present is None else present.attributes,
        filling.attributes,
        folder=False,
        size_bytes=size_bytes,
        new_content=True,
    )
    tree.check_quota(size_bytes - (0 if present is None else present.size_bytes))
    if present is None:
        node = tree.add(entry, attributes, filling.content)
    else:
        node = tree.refill(present, entry.name, attributes, filling.content)
    for known in tree.entries(node):
        tree.note("put", node, known, filling.key)
    tree.touch(folder.id, filling.parent_mtime_ns)
    return Done(CREATED if present is None else OK, node, entry)


def _taken(tree: Tree, present: Node, entry: Entry) -> Rejected:
    return Rejected(Exists(f"the name {entry.name!r} is taken"), tree.item(present, entry))


def _free_name(tree: Tree, folder: Node, name: str) -> str:
    """`name (1).ext`, or the first number that is free; looked up ten at a time."""
    number = 1
    while True:
        candidates = [numbered(name, one) for one in range(number, number + 10)]
        tree.load_children(folder.id, candidates)
        for candidate in candidates:
            if tree.child(folder, candidate) is None:
                return candidate
        number += 10
