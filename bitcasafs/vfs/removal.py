"""What a name leads to is taken away or led elsewhere: unlink, rmdir and the ways of rename, as changes in the outbox.

Nothing here waits: each call is one transaction of the outbox, between two awaits. Two cases each: the node is only
here (`_only_here`: its creation is changed or taken back, and the portal never hears of it), or it is, or may be, on
the portal (a change goes there, after what is on its way). What is replaced or removed is taken away at once (`Tree`).
"""

from __future__ import annotations

from dataclasses import replace

from bitcasafs.values.items import Kind, Version
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number, Record, State
from bitcasafs.writing.outbox import new_key

Spot = tuple[Number, str]
"""A folder and a name in it."""


class Removal:
    def __init__(self, core: Core) -> None:
        self._nodes, self._tree = core.nodes, core.tree
        self._contents, self._outbox = core.contents, core.outbox

    def unlink(self, node: Node, spot: Spot) -> None:
        with self._outbox.together():
            self._remove(node, spot)

    def rmdir(self, node: Node, spot: Spot) -> None:
        """The caller has seen that it is empty."""
        with self._outbox.together():
            self._remove(node, spot)

    def move(self, node: Node, old: Spot, other: Node | None, new: Spot, *, local: bool = False) -> None:
        """`node` gets the name `new`; `other`, what had it, is replaced and lives on only in its handles. `local`:
        it is not sent under that name.
        """
        with self._outbox.together():
            creation = None if node.kind is Kind.FOLDER else self._only_here(node)
            over, over_node = self._make_way(other, new, creation)
            if creation is None:
                fields = Fields(
                    old_parent=old[0], old_name=old[1], parent=new[0], name=new[1], over=over, over_node=over_node
                )
                self._append(Change(ChangeKind.MOVE, node.number, None, fields))
            else:
                creation = self._outbox.get(creation.id) or creation  # what made way may have become its content
                self._delete_replaced(creation)
                self._contents.retarget(creation, new, over, over_node, local=local)
                node.parent, node.name = new
                self._tree.remember(node.number)

    def exchange(self, node: Node, old: Spot, other: Node, new: Spot) -> None:
        fields = Fields(
            old_parent=old[0], old_name=old[1], parent=new[0], name=new[1], over_node=other.number, exchange=True
        )
        self._append(Change(ChangeKind.MOVE, node.number, None, fields))

    # --- the parts of these ---------------------------------------------------------------------------------------

    def _only_here(self, node: Node) -> Record | None:
        """The creation of a node of which nothing can be on the portal, and that nothing else depends on."""
        records = self._outbox.of_node(node.number)
        if node.item is not None or len(records) != 1 or not (records[0].makes and records[0].quiet):
            return None
        if node.kind is Kind.FOLDER and next(iter(self._outbox.naming(node.number)), None) is not None:
            return None
        return records[0]

    def _remove(self, node: Node, spot: Spot) -> None:
        creation = self._only_here(node)
        if creation is None:
            self._append_delete(node, spot)
            return
        self._take_back(node, creation)
        self._delete_replaced(creation)

    def _take_back(self, node: Node, creation: Record) -> None:
        if creation.change.kind is not ChangeKind.CONTENT:
            self._outbox.remove(creation.id)
        self._tree.gone(node)

    def _delete_replaced(self, creation: Record) -> None:
        """A new node that was to replace another under its name does not any more: that one goes by itself."""
        fields = creation.change.fields
        if fields.over_node is not None and fields.parent is not None and fields.name is not None:
            spot = (fields.parent, fields.name)
            self._append(_delete(fields.over_node, spot, fields.over, folder=False))

    def _append_delete(self, node: Node, spot: Spot) -> None:
        folder = node.kind is Kind.FOLDER
        self._tree.take_away(node)
        move = None if folder else self._waiting_move(node)
        if move is None:
            self._append(_delete(node.number, spot, node.version, folder=folder))
            return
        # Moved and then removed: it is removed where it was. Who waits for that name has waited for this record.
        fields = move.change.fields
        assert fields.old_parent is not None
        assert fields.old_name is not None
        change = _delete(node.number, (fields.old_parent, fields.old_name), node.version, folder=False)
        self._outbox.update(replace(move, change=change, key=new_key(), attempts=0, state=State.READY, reason=None))
        self._delete_replaced(move)
        self._fold_into_creation((fields.old_parent, fields.old_name))

    def _waiting_move(self, node: Node) -> Record | None:
        """The only move of a file, when nothing of it can be on the portal."""
        moves = [one for one in self._outbox.of_node(node.number) if one.change.kind is ChangeKind.MOVE]
        if len(moves) != 1 or not moves[0].quiet or moves[0].change.fields.exchange:
            return None
        return moves[0]

    def replaced_at(self, spot: Spot) -> tuple[Version | None, Number | None]:
        """A new file takes a name whose file was removed a moment ago: it becomes new content of that, whose history
        goes on. Inside `together`, before the new file's record is made.
        """
        records = self._outbox.at_place(*spot)
        last = records[-1] if records else None
        if last is None or not self._may_become_content(last):
            return None, None
        self._outbox.remove(last.id)
        return last.change.base, last.change.node

    def _fold_into_creation(self, spot: Spot) -> None:
        """The same when the new file was made before the old one, which was moved aside, was removed."""
        records = self._outbox.at_place(*spot)
        if len(records) != 2:
            return
        removal, creation = records
        new = creation.change.fields
        plain = creation.makes and creation.quiet and creation.change.kind is ChangeKind.CONTENT
        if plain and new.over_node is None and self._may_become_content(removal):
            self._outbox.remove(removal.id)
            fields = replace(new, over=removal.change.base, over_node=removal.change.node)
            self._contents.change_fields(creation, fields)

    def _may_become_content(self, removal: Record) -> bool:
        change = removal.change
        if change.kind is not ChangeKind.DELETE or not removal.quiet or change.base is None or change.fields.folder:
            return False
        node = self._nodes.get(change.node)
        # Only where nothing else of the node waits is it at that very name on the portal.
        return node is not None and node.item is not None and self._outbox.of_node(change.node) == [removal]

    def _make_way(
        self, other: Node | None, spot: Spot, creation: Record | None
    ) -> tuple[Version | None, Number | None]:
        """Take away what has the name; answers version and node that the portal is to replace, if any."""
        if other is None:
            return None, None
        theirs = self._only_here(other)
        if theirs is not None:
            self._take_back(other, theirs)
            return theirs.change.fields.over, theirs.change.fields.over_node
        if creation is not None and not self._at_rest(other):
            self._append_delete(other, spot)
            return None, None
        self._tree.take_away(other)
        return other.version, other.number

    def _at_rest(self, node: Node) -> bool:
        """It is on the portal, under the name that it has here."""
        return node.item is not None and not any(
            one.change.kind is ChangeKind.MOVE or not one.quiet for one in self._outbox.of_node(node.number)
        )

    def _append(self, change: Change) -> None:
        fields = change.fields
        self._tree.remember(change.node, fields.parent, fields.old_parent, fields.over_node)
        self._outbox.append(change)


def _delete(node: Number, spot: Spot, base: Version | None, *, folder: bool) -> Change:
    return Change(ChangeKind.DELETE, node, base, Fields(old_parent=spot[0], old_name=spot[1], folder=folder))
