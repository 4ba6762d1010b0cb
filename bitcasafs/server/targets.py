"""What a path of a request names, as the metadata takes it: read, changed, or made anew."""

from __future__ import annotations

from bitcasafs.dialects.batch import node_address
from bitcasafs.dialects.names import NodeTarget, PathTarget, join_path, parse_target
from bitcasafs.errors import Forbidden, Malformed, NotFound
from bitcasafs.values.items import Address
from bitcasafs.values.operations import Place

Where = NodeTarget | PathTarget


def where(path: str, *, extended: bool) -> Where:
    """NotFound, NameInvalid. `/.node/...` is a name of part 2."""
    target = parse_target(path)
    if isinstance(target, NodeTarget) and not extended:
        raise NotFound("this portal has no nodes")
    return target


def existing(target: Where) -> Address | Place:
    """An item to change. Forbidden: the parent of all roots."""
    if isinstance(target, NodeTarget):
        folder = node_address(target.node)
        return folder if target.name is None else Place(folder, target.name)
    if target.drive is None:
        raise Forbidden("the roots stay as they are")
    return Address(join_path(target.drive, *target.names))


def new(target: Where) -> tuple[Address, str]:
    """Folder and name of an item to make. Malformed: a root, or a node without a name in it. Forbidden."""
    if isinstance(target, NodeTarget):
        if target.name is None:
            raise Malformed("a new item is named /.node/FOLDER/name")
        return node_address(target.node), target.name
    if target.drive is None:
        raise Forbidden("the roots stay as they are")
    if not target.names:
        raise Malformed("a new item needs a name in a drive")
    return Address(join_path(target.drive, *target.names[:-1])), target.names[-1]
