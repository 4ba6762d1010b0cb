"""The overlay: the listing with the outbox laid over it. What the kernel is told of names.

Pure in the rows and the records; computed for one name when one is asked for, so that a folder with thousands of
pending files costs a lookup no more than an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitcasafs.errors import NotFound
from bitcasafs.vfs.listings import Listings
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


class Overlay:
    def __init__(self, listings: Listings, outbox: Outbox) -> None:
        self._listings = listings
        self._outbox = outbox

    async def find(self, folder: Number, name: str) -> Number | None:
        """The node that a name leads to; None: there is no such name. Waits when the listing must be asked for."""
        return self._find(await self._listings.fresh(folder), folder, name)

    def find_known(self, folder: Number, name: str) -> Number | None:
        """The same from what is known now."""
        return self._find(self._listings.known(folder) or {}, folder, name)

    def _find(self, rows: Mapping[str, Number], folder: Number, name: str) -> Number | None:
        found = rows.get(name)
        for record in self._outbox.at_place(folder, name):
            found = laid(found, record, folder, name)
        return found

    async def need(self, folder: Number, name: str) -> Number:
        """Like `find`; NotFound when there is no such name."""
        found = await self.find(folder, name)
        if found is None:
            raise NotFound(f"there is no {name!r}")
        return found

    async def rows(self, folder: Number) -> dict[str, Number]:
        """All names of a folder. Waits when the listing must be asked for."""
        rows = dict(await self._listings.fresh(folder))
        for name in self._outbox.names_in(folder):
            found = self._find(rows, folder, name)
            if found is None:
                rows.pop(name, None)
            else:
                rows[name] = found
        return rows
