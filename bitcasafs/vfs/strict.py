"""`-o coherence=strict`: names that machines may compete for are taken on the portal before the caller is answered.

Who uses: `names`, for create with O_EXCL, mkdir, and rename over a name: what programs make locks of. Each call waits
for the portal; what it refuses is raised, and is not there any more when the caller hears of it. While a call waits
this machine shows the name already, so that of two of its programs one is told at once that it came too late.

When the answer is lost the error is raised and the change stays, to be asked for again (see `Deliveries.outcome`).
"""

from __future__ import annotations

from dataclasses import replace

from bitcasafs.vfs.core import Core
from bitcasafs.vfs.files import Files
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number, Record

Spot = tuple[Number, str]
"""A folder and a name in it."""


class Strict:
    def __init__(self, core: Core, files: Files) -> None:
        self._nodes, self._listings, self._overlay, self._tree = core.nodes, core.listings, core.overlay, core.tree
        self._contents, self._outbox, self._deliveries = core.contents, core.outbox, core.deliveries
        self._files = files

    async def look_again(self, spot: Spot) -> Number | None:
        """What has a name on the portal now: a lock that another machine has given back is not said to be held."""
        self._listings.expire(spot[0])
        return await self._overlay.find(*spot)

    async def create(self, node: Node, record: Record) -> None:
        """The empty file whose record was made this moment."""
        sealed = self._contents.seal(record, record.change.fields.attributes)
        try:
            await self._deliveries.outcome(sealed)
        except BaseException:
            if self._outbox.get(sealed.id) is None:
                self._contents.drop(sealed)
                self._never_was(node, sealed)
            raise

    async def make_folder(self, node: Node, change: Change) -> None:
        """A folder of that name that is there already is not ours."""
        change = replace(change, fields=replace(change.fields, exclusive=True))
        try:
            await self._tree.carry_out(self._deliveries, change)
        except BaseException:
            if not self._outbox.of_node(node.number):
                self._tree.gone(node)
            raise

    async def replace(self, node: Node, old: Spot, other: Node, new: Spot) -> bool:
        """`node` gets the name `new`, which `other` has. False: while their content was sent names were changed here;
        look again.
        """
        for one in (node, other):
            if one is node or one.item is None:  # the portal cannot move, or replace, what it does not have
                self._files.seal(one)
                await self._deliveries.delivered(one.number)
        await self._deliveries.settled(node.number, other.number)
        if self._overlay.find_known(*old) != node.number or self._overlay.find_known(*new) != other.number:
            return False
        fields = Fields(
            old_parent=old[0],
            old_name=old[1],
            parent=new[0],
            name=new[1],
            over=other.version,
            over_node=other.number,
        )
        await self._tree.carry_out(self._deliveries, Change(ChangeKind.MOVE, node.number, None, fields))
        return True

    def _never_was(self, node: Node, record: Record) -> None:
        """The portal has not taken a new file."""
        fields = record.change.fields
        self._tree.gone(node)
        over = None if fields.over_node is None else self._nodes.get(fields.over_node)
        if over is not None:
            self._tree.restore(over)
        if fields.parent is not None:
            self._listings.expire(fields.parent)
