"""What becomes of changes: the vfs's side of the outbox (`writing.scheduler.Witness`).

A change is named to the outbox here, with all that a later mount needs to find its nodes again; when it is on the
portal, nodes and listings are brought to the new truth in the same breath, so that what the kernel is told never goes
back in time.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from bitcasafs.errors import BitcasaError, Unavailable
from bitcasafs.remote.interface import Remote
from bitcasafs.values.items import Attributes, Item, Kind
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.nodes import ROOT, Node, Nodes
from bitcasafs.writing.change import Change, ChangeKind, Number, Record, State
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.deliveries import Deliveries
from bitcasafs.writing.known_node import KnownNode
from bitcasafs.writing.laying import laid_over
from bitcasafs.writing.outbox import Outbox


class Tree:
    """Implements `writing.scheduler.Witness`."""

    def __init__(
        self, remote: Remote, nodes: Nodes, listings: Listings, ledger: Ledger, outbox: Outbox, contents: Contents
    ) -> None:
        self._remote, self._nodes, self._listings, self._ledger = remote, nodes, listings, ledger
        self._outbox, self._contents = outbox, contents

    # --- before ---

    def take_up(self) -> None:
        """What an earlier mount's changes are about to take away is not seen any more. Call once, before anything."""
        for record in self._outbox:
            fields = record.change.fields
            taken = record.change.node if record.change.kind is ChangeKind.DELETE else fields.over_node
            node = None if taken is None or fields.exchange else self._nodes.get(taken)
            if node is not None and record.state is not State.PROBLEM:
                _doom(node)

    def remember(self, *numbers: Number | None) -> None:
        """Keep nodes, and the folders that lead to them, for a mount that finds their changes unsent."""
        for number in numbers:
            while number is not None:
                node = self._nodes[number]
                if node.noted == self._nodes.moves:  # and so are the folders above it
                    break
                address = None if node.item is None else self._nodes.address(number)
                identity = node.item.node if node.item is not None else None
                path = None if address is None else address.path
                self._outbox.remember(KnownNode(number, identity, node.parent, node.name, path, node.kind))
                if node.kind is Kind.FOLDER:
                    self._outbox.afterwards(partial(_note, node, self._nodes.moves))
                number = node.parent

    async def carry_out(self, deliveries: Deliveries, change: Change) -> Item | None:
        """Send a change of names or attributes and wait for it.

        When its outcome is unknown the folders that it names are listed anew before anybody is told of them.
        """
        fields = change.fields
        self.remember(change.node, fields.parent, fields.old_parent, fields.over_node)
        try:
            return await deliveries.carry_out(change)
        except BitcasaError as error:
            if not isinstance(error, Unavailable) or error.applied is not False:
                for folder in (fields.parent, fields.old_parent):
                    if folder is not None:
                        self._listings.expire(folder)
            raise

    # --- Witness ---

    def together(self) -> AbstractContextManager[None]:
        return self._ledger.together()

    def held_open(self, node: Number) -> bool:
        try:
            found = self._nodes[node]
        except BitcasaError:
            return False
        return found.writers > 0 and found.activity is not None

    def sent(self, record: Record, item: Item | None) -> None:
        change, fields = record.change, record.change.fields
        try:
            node = self._nodes[change.node]
        except BitcasaError:  # unlinked and forgotten meanwhile
            return
        match change.kind:
            case ChangeKind.DELETE:
                self._left(node)
                self._listings.drop(change.node)
                self.gone(node)
            case ChangeKind.MOVE:
                self._moved(node, record, item)
                self.remember(node.number)
            case ChangeKind.ATTRIBUTES:
                if self.keeps_here():
                    self.keep(node, fields.attributes, fields.dropped)
                elif item is not None and node.item is not None:
                    node.item = item
                    if node.parent is not None:
                        self._listings.edit(node.parent, node.name, node.number)
            case _:
                self._made(node, record, item)

    def _made(self, node: Node, record: Record, item: Item | None) -> None:
        parent = node.parent if node.item is not None else record.change.fields.parent
        if item is None or parent is None:
            return
        new_folder = record.change.kind is ChangeKind.MKDIR and node.item is None
        replaced = self._nodes.arrived(node, item, parent)
        if replaced is not None:
            self._hand_over(replaced.number, node.number)
            self.gone(replaced)
        over = record.change.fields.over_node
        replaced = None if over is None else self._nodes.get(over)
        if replaced is not None and replaced is not node:  # it has another identity where ours took its name from it
            self.gone(replaced)
        self._listings.edit(parent, item.name, node.number)
        if new_folder:
            self._listings.made(node.number)
        if self.keeps_here():
            self.keep(node, record.change.fields.attributes, record.change.fields.dropped)
        number = node.number
        if len(self._outbox.of_node(number)) > 1 or next(iter(self._outbox.naming(number)), None) is not None:
            self.remember(number)  # other changes of it, or in it, wait: a later mount must find it where it is now

    def _hand_over(self, was: Number, number: Number) -> None:
        """A folder of that name was there already, and known by another number: what waits to be done in it goes on."""
        for record in list(self._outbox.naming(was)):
            fields = record.change.fields
            if record.state is not State.SENDING and fields.over_node != was:
                fields = replace(
                    fields,
                    parent=number if fields.parent == was else fields.parent,
                    old_parent=number if fields.old_parent == was else fields.old_parent,
                )
                self._outbox.update(replace(record, change=replace(record.change, fields=fields)))

    def _left(self, node: Node) -> None:
        """The name that the node had on the portal leads there no more."""
        if node.parent is not None and node.item is not None:
            rows = self._listings.known(node.parent) or {}
            if rows.get(node.name, node.number) == node.number:
                self._listings.edit(node.parent, node.name, None)

    def _moved(self, node: Node, record: Record, item: Item | None) -> None:
        fields = record.change.fields
        assert fields.old_parent is not None
        assert fields.old_name is not None
        assert fields.parent is not None
        assert fields.name is not None
        other = self._replaced(record)
        moved = item if item is not None and node.has_content_of(item) else node.item
        assert moved is not None
        if other is not None and not fields.exchange:
            self._listings.drop(other.number)
            self.gone(other)
        self._left(node)
        self._nodes.arrived(node, moved, fields.parent)
        node.name = fields.name
        self._listings.edit(fields.parent, fields.name, node.number)
        if other is not None and fields.exchange and other.item is not None:
            self._nodes.arrived(other, other.item, fields.old_parent)
            other.name = fields.old_name
            self._listings.edit(fields.old_parent, fields.old_name, other.number)
            self.remember(other.number)

    def _replaced(self, record: Record) -> Node | None:
        try:
            return None if record.change.fields.over_node is None else self._nodes[record.change.fields.over_node]
        except BitcasaError:  # another machine removed it meanwhile, and nobody holds it
            return None

    def keeps_here(self) -> bool:
        """The portal keeps no attributes: this machine does. A portal that gave the root an identity is not taken for
        one of those while it was not reached yet (before that its capabilities are not known).
        """
        root = self._nodes[ROOT].item
        return not self._remote.capabilities.attributes and (root is None or root.node is None)

    def keep(self, node: Node, attributes: Attributes, dropped: Collection[str] = ()) -> None:
        """Lay attributes over those that this machine keeps of a node that is on a portal which keeps none."""
        if attributes != Attributes() or dropped:
            self._ledger.keep(node.number, laid_over(self._ledger.kept(node.number), attributes, dropped))

    def take_away(self, node: Node) -> None:
        """A change that is about to be made takes the node away: nothing of it is sent any more, open handles keep what
        they have. Inside `together`.
        """
        self._contents.let_go(node.number, still_open=node.openers > 0)
        for record in self._outbox.of_node(node.number):
            if record.quiet and record.change.kind is ChangeKind.ATTRIBUTES:
                self._outbox.remove(record.id)
        self._outbox.afterwards(lambda: _doom(node))

    def restore(self, node: Node) -> None:
        """The change that took the node away did not come about: it is as the portal has it, once that is listed."""
        node.unlinked = node.doomed = False
        if node.parent is not None:
            self._listings.expire(node.parent)

    def gone(self, node: Node) -> None:
        """No name leads to the node any more: open handles keep its pending content, else that is dropped."""
        self._contents.let_go(node.number, still_open=node.openers > 0)
        node.modified_ns = None
        self._outbox.afterwards(lambda: self._nodes.gone(node))

    def refused(self, record: Record, error: BitcasaError) -> None:
        try:
            node = self._nodes[record.change.node]
        except BitcasaError:
            return
        if record.change.kind is ChangeKind.DELETE:
            self.restore(node)
        replaced = self._replaced(record)
        if replaced is not None and not record.change.fields.exchange:
            self.restore(replaced)
        if node.openers:
            node.problem = error


def _note(node: Node, moves: int) -> None:
    node.noted = moves


def _doom(node: Node) -> None:
    node.unlinked = node.doomed = True
    node.modified_ns = None
