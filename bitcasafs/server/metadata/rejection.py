"""An operation that cannot be done, with the item that is in the way."""

from __future__ import annotations

from bitcasafs.errors import BitcasaError, VersionMismatch
from bitcasafs.server.metadata.rows import Entry, Node
from bitcasafs.server.metadata.tree import Tree
from bitcasafs.values.items import Item


class Rejected(Exception):
    """Carries `error` to whoever answers the operation, and `current`, the present item (protocol 2.2)."""

    def __init__(self, error: BitcasaError, current: Item | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.current = current


def check_condition(tree: Tree, wanted: str | None, node: Node | None, entry: Entry | None) -> None:
    """`if_match`: a file's version, or a folder's revision in decimal; None: no condition. Rejected (412).

    A condition on a name that leads nowhere does not hold.
    """
    if wanted is None:
        return
    if node is None:
        raise Rejected(VersionMismatch("what the condition speaks of is not there any more"), None)
    present = str(node.revision) if node.content is None else node.content.token
    if present != wanted:
        raise Rejected(VersionMismatch("somebody else has changed the item"), tree.item(node, entry))
