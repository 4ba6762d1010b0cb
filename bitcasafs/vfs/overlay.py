"""The overlay: the listing with the outbox laid over it. What the kernel is told of names.

Pure in the rows and the records; computed for one name when one is asked for, so that a folder with thousands of
pending files costs a lookup no more than an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.nodes import ROOT, Nodes
from bitcasafs.writing.change import ChangeKind, Number, Record, State
from bitcasafs.writing.outbox import Outbox


def laid(found: Number | None, record: Record, folder: Number, name: str) -> Number | None:
    """What `name` in `folder` leads to after one more pending change."""
    change, fields = record.change, record.change.fields
    taken = (fields.parent, fields.name) == (folder, name)
    given_up = (fields.old_parent, fields.old_name) == (folder, name)
    match change.kind:
        case ChangeKind.CONTENT | ChangeKind.MKDIR | ChangeKind.SYMLINK if taken:
            return change.node
        case ChangeKind.MOVE if record.state is not State.PROBLEM and (taken or given_up):
            if taken:
                return change.node
            return fields.over_node if fields.exchange else None
        case ChangeKind.DELETE if record.state is not State.PROBLEM and given_up:
            return None
        case _:
            return found


def led_to(record: Record, number: Number) -> tuple[Number, str] | None:
    """The place that a pending change of names gives the node `number`; None: it takes it away."""
    fields = record.change.fields
    if record.change.node == number and fields.parent is not None and fields.name is not None:
        return fields.parent, fields.name
    if fields.exchange and fields.old_parent is not None and fields.old_name is not None:
        return fields.old_parent, fields.old_name
    return None


class Overlay:
    def __init__(self, listings: Listings, nodes: Nodes, outbox: Outbox) -> None:
        self._listings = listings
        self._nodes = nodes
        self._outbox = outbox

    async def find(self, folder: Number, name: str) -> Number | None:
        """The node that a name leads to; None: there is no such name. Waits when the listing must be asked for."""
        found = self._find(await self._listings.fresh(folder), folder, name)
        if found is not None:
            await self._listings.fill_in((found,))
        return found

    def find_known(self, folder: Number, name: str) -> Number | None:
        """The same from what is known now."""
        return self._find(self._listings.known(folder) or {}, folder, name)

    def _find(self, rows: Mapping[str, Number], folder: Number, name: str) -> Number | None:
        found = rows.get(name)
        if found is not None and self._is_elsewhere(found, folder, name):
            found = None
        for record in self._outbox.at_place(folder, name):
            found = laid(found, record, folder, name)
        return found

    async def rows(self, folder: Number) -> dict[str, Number]:
        """All names of a folder. Waits when the listing must be asked for."""
        await self._listings.fresh(folder)
        await self._listings.fill_in(self.rows_known(folder).values())
        return self.rows_known(folder)

    def rows_known(self, folder: Number) -> dict[str, Number]:
        """The same from what is known now."""
        known = self._listings.known(folder) or {}
        if not len(self._outbox):
            return dict(known)
        rows = {name: number for name, number in known.items() if not self._is_elsewhere(number, folder, name)}
        for name in self._outbox.names_in(folder):
            found = self._find(known, folder, name)
            if found is None:
                rows.pop(name, None)
            else:
                rows[name] = found
        return rows

    # --- the other way round --------------------------------------------------------------------------------------

    def _is_elsewhere(self, number: Number, folder: Number, name: str) -> bool:
        """A row of the listing is of a node that a pending change leads to another name, or takes away: it may stand
        under a name that another machine gave it since.
        """
        last = self._last_of(number)
        return last is not None and led_to(last, number) != (folder, name)

    def spot(self, number: Number) -> tuple[Number, str] | None:
        """Where users see a node; None: the root, or no name leads to it."""
        node = self._nodes.get(number)
        if node is None or node.unlinked:
            return None
        last = self._last_of(number)
        if last is not None:
            return led_to(last, number)
        return None if node.parent is None else (node.parent, node.name)

    def _last_of(self, number: Number) -> Record | None:
        """The youngest pending change of the node's name."""
        last: Record | None = None
        for record in self._outbox.of_node(number):
            if record.makes or (record.state is not State.PROBLEM and record.change.kind in _NAMING):
                last = record
        for record in self._outbox.taking(number):
            if record.state is not State.PROBLEM and (last is None or record.id > last.id):
                last = record
        return last

    def path(self, number: Number) -> str:
        """The path below the mountpoint, for a person."""
        names: list[str] = []
        spot = self.spot(number)
        if spot is None and number != ROOT:
            node = self._nodes.get(number)
            return f"(inode {number})" if node is None else node.name
        while spot is not None and len(names) < _DEEPEST:
            names.append(spot[1])
            spot = self.spot(spot[0])
        return "/".join(reversed(names))


_NAMING = frozenset({ChangeKind.MOVE, ChangeKind.DELETE})
_DEEPEST = 4096
