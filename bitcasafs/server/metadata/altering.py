"""The operations on what is there: attributes, move, delete (protocol 2.2, 2.4).

Each function makes all its checks, then all its changes. Errors: those of `view`, Rejected, NameInvalid, ReadOnly,
Forbidden (the drive itself), NotFound, Loop, Malformed.
"""

from __future__ import annotations

from sqlalchemy import CTE, bindparam, func, select, update

from bitcasafs.dialects.names import check_name
from bitcasafs.errors import (
    Exists,
    Forbidden,
    IsFolder,
    Loop,
    Malformed,
    NotEmpty,
    NotFolder,
    NotFound,
    VersionMismatch,
)
from bitcasafs.server.metadata.making import OK, Done
from bitcasafs.server.metadata.rejection import Rejected, check_condition
from bitcasafs.server.metadata.rows import Entry, Node
from bitcasafs.server.metadata.schema import entries, nodes, versions
from bitcasafs.server.metadata.tree import Tree
from bitcasafs.server.metadata.view import Where
from bitcasafs.values.operations import Delete, Move, OnExisting, SetAttributes


def set_attributes(tree: Tree, operation: SetAttributes, target: Where) -> Done:
    """By identity a node with several names is not ambiguous here: its attributes are one."""
    node = tree.node_at(target)
    tree.check_changeable(node)
    known = tree.entries(node)
    first = known[0] if known else None
    if operation.if_revision is not None and operation.if_revision != node.revision:
        raise Rejected(VersionMismatch("somebody else has changed the item"), tree.item(node, first))
    if not operation.change:
        return Done(OK, node, first)
    attributes = tree.merged(node.attributes, operation.change, folder=node.folder, size_bytes=node.size_bytes)
    node = tree.change(node, attributes=attributes)
    for entry in known or (None,):
        tree.note("put", node, entry, operation.key)
    if first is not None and operation.parent_mtime_ns is not None:
        tree.touch(first.parent, operation.parent_mtime_ns)
    return Done(OK, node, first)


def move(tree: Tree, operation: Move, target: Where, parent: Where) -> Done:
    if operation.exists not in (OnExisting.FAIL, OnExisting.OVERWRITE, OnExisting.EXCHANGE):
        raise Malformed(f"move does not know exists={operation.exists.value}")
    node, old = _changeable_entry(tree, target)
    folder = tree.changeable_folder(parent)
    new = Entry(folder.id, check_name(operation.name))
    present = tree.child(folder, new.name)
    check_condition(tree, operation.if_match, node, old)
    check_condition(tree, operation.if_match_target, present, new)
    if present is not None and present.id == node.id:
        # The same entry, or two names of one file: rename(2) has nothing to do then.
        return Done(OK, node, old)
    if node.folder and tree.is_within(folder, node):
        raise Loop("a folder cannot move into itself")
    old_path = tree.item(node, old).path
    if operation.exists is OnExisting.EXCHANGE:
        node = _exchange(tree, operation, node, old, present, new, old_path)
    else:
        if present is not None:
            _check_replaceable(tree, operation, node, present, new)
            tree.drop(present, new, operation.key)
        tree.relink(node, old, new)
        node = tree.change(node, attributes=tree.stamped(node.attributes))
        tree.note("put", node, new, operation.key, old_path)
    for number in dict.fromkeys((old.parent, new.parent)):
        tree.touch(number, operation.parent_mtime_ns)
    return Done(OK, node, new)


def delete(tree: Tree, operation: Delete, target: Where) -> Done:
    node, entry = _changeable_entry(tree, target)
    check_condition(tree, operation.if_match, node, entry)
    if node.folder and not tree.is_empty(node):
        if not operation.recursive:
            raise Rejected(NotEmpty("the folder is not empty"), tree.item(node, entry))
        _delete_below(tree, node)
    tree.drop(tree.node(node.id), entry, operation.key)
    tree.touch(entry.parent, operation.parent_mtime_ns)
    return Done(OK)


def _changeable_entry(tree: Tree, target: Where) -> tuple[Node, Entry]:
    spot = tree.spot(target)
    tree.check_changeable(spot.node)
    if spot.entry is None:
        raise Forbidden("the drive itself can be neither moved nor deleted")
    return spot.node, spot.entry


def _check_replaceable(tree: Tree, operation: Move, node: Node, present: Node, new: Entry) -> None:
    """Whether `node` may take the place of `present`. Rejected."""
    if operation.exists is OnExisting.FAIL:
        raise Rejected(Exists(f"the name {new.name!r} is taken"), tree.item(present, new))
    if present.folder and not node.folder:
        raise Rejected(IsFolder(f"{new.name!r} is a folder"), tree.item(present, new))
    if node.folder and not present.folder:
        raise Rejected(NotFolder(f"{new.name!r} is not a folder"), tree.item(present, new))
    if present.folder and not tree.is_empty(present):
        raise Rejected(NotEmpty(f"the folder {new.name!r} is not empty"), tree.item(present, new))


def _exchange(
    tree: Tree, operation: Move, node: Node, old: Entry, present: Node | None, new: Entry, old_path: str
) -> Node:
    """The two entries change their nodes."""
    if present is None:
        raise NotFound(f"there is no {new.name!r} to exchange with")
    if present.folder and tree.is_within(tree.node(old.parent), present):
        raise Loop("a folder cannot change places with what is below it")
    new_path = tree.item(present, new).path
    tree.relink(node, old, new)
    tree.relink(present, new, old)
    node = tree.change(node, attributes=tree.stamped(node.attributes))
    present = tree.change(present, attributes=tree.stamped(present.attributes))
    tree.note("put", node, new, operation.key, old_path)
    tree.note("put", present, old, operation.key, new_path)
    return node


def _below() -> CTE:
    """The numbers of everything below the folder `top`."""
    first = select(entries.c.node).where(entries.c.parent == bindparam("top")).cte("below", recursive=True)
    return first.union_all(select(entries.c.node).join_from(entries, first, entries.c.parent == first.c.node))


_below_top = _below()
_numbers = select(_below_top.c.node)
_TOTALS = select(
    func.coalesce(func.sum(versions.c.size_bytes), 0), func.count(versions.c.id)
).join_from(versions, nodes, versions.c.id == nodes.c.version).where(nodes.c.id.in_(_numbers))  # fmt: skip
_RETIRE = (
    update(versions)
    .where(versions.c.id.in_(select(nodes.c.version).where(nodes.c.id.in_(_numbers), nodes.c.version.is_not(None))))
    .values(replaced_ns=bindparam("now"))
)
_DELETE = update(nodes).where(nodes.c.id.in_(_numbers)).values(deleted_ns=bindparam("now"))


def _delete_below(tree: Tree, folder: Node) -> None:
    """Everything below goes at this moment, in three statements however much it is. The entries stay with what they
    lead to, out of reach of every path: `gone` of the folder tells of all, and all could be brought back."""
    tree.flush()
    size_bytes, files = tree.execute(_TOTALS, {"top": folder.id}).one()
    for statement in (_RETIRE, _DELETE):
        tree.execute(statement, {"top": folder.id, "now": tree.now_ns})
    tree.forget_below(int(size_bytes), files)
