"""What a name leads to is taken away or led elsewhere: unlink, rmdir and the ways of rename, where content is pending.

Three cases each: the node is on the portal (a change goes there), it is only here (its record is changed or dropped),
or it is on its way (that is waited for, and it is one of the others).
"""

from __future__ import annotations

from bitcasafs.errors import Unsupported
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number

Spot = tuple[Number, str]
"""A folder and a name in it."""


class Removal:
    def __init__(self, core: Core) -> None:
        self._nodes, self._listings, self._tree = core.nodes, core.listings, core.tree
        self._contents, self._scheduler = core.contents, core.scheduler

    async def unlink(self, node: Node, parent: Number, name: str) -> None:
        await self._scheduler.settled(node.number)
        if node.item is None:
            self._tree.gone(node)
            return
        fields = Fields(old_parent=parent, old_name=name)
        await self._carry_out(Change(ChangeKind.DELETE, node.number, None, fields))

    async def rmdir(self, node: Node, parent: Number, name: str) -> None:
        fields = Fields(old_parent=parent, old_name=name, folder=True)
        await self._carry_out(Change(ChangeKind.DELETE, node.number, None, fields))

    async def move(self, node: Node, old: Spot, other: Node | None, new: Spot) -> None:
        """`node` gets the name `new`; `other`, what had it, is replaced and lives on only in its handles."""
        await self._scheduler.settled(*(one.number for one in (node, other) if one is not None))
        if node.item is None:
            self._retarget(node, other, new)
            return
        fields = Fields(
            old_parent=old[0],
            old_name=old[1],
            parent=new[0],
            name=new[1],
            over_node=None if other is None else other.number,
        )
        await self._carry_out(Change(ChangeKind.MOVE, node.number, None, fields))

    async def exchange(self, node: Node, old: Spot, other: Node, new: Spot) -> None:
        await self._scheduler.settled(node.number, other.number)
        if node.item is None or other.item is None:
            raise Unsupported("a file that is not on the portal yet cannot be exchanged")
        fields = Fields(
            old_parent=old[0], old_name=old[1], parent=new[0], name=new[1], over_node=other.number, exchange=True
        )
        await self._carry_out(Change(ChangeKind.MOVE, node.number, None, fields))

    def _retarget(self, node: Node, other: Node | None, new: Spot) -> None:
        """A file that is only here: it will be sent under the new name, as new content of what had that name."""
        over, of, still_open = None, None, False
        if other is not None:
            over, of, still_open = other.version, other.number, other.openers > 0
        self._contents.take_place(node.number, *new, over, of, still_open=still_open)
        node.parent, node.name = new
        self._tree.remember(node.number)
        if other is not None:
            if other.item is not None:
                self._listings.edit(*new, None)
            self._tree.gone(other)

    async def _carry_out(self, change: Change) -> None:
        await self._tree.carry_out(self._scheduler, change)
