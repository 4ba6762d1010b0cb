"""Looks at the portal after a refusal: what is there instead of what a change was made for (`writing.conflicts.Seen`).

Changes nothing. Waits for a few answers of the portal, and for a thread while content is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitcasafs.errors import NotFolder, NotFound, VersionGone, VersionMismatch
from bitcasafs.remote.interface import ContentRef, Remote
from bitcasafs.values.items import Address, Item, Kind
from bitcasafs.values.operations import Place
from bitcasafs.vfs.nodes import Node, Nodes
from bitcasafs.writing.change import ChangeKind, Number, Record
from bitcasafs.writing.conflicts import Seen, is_equal_link
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.digest import md5_of
from bitcasafs.writing.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Found:
    """`spot`: the name that the change was for, in this mount's numbers. `gone_folders`: those above it that are not on
    the portal any more, outermost first. `home`: the folder in which `seen.node` is, when it is known here. `inside`:
    it was to move into a folder that is gone, and whose name it has now itself.
    """

    seen: Seen
    spot: tuple[Number, str]
    gone_folders: tuple[Number, ...] = ()
    home: Number | None = None
    inside: bool = False


class _Differs(Exception):
    """Not our bytes; ends a comparison early."""


class Looking:
    def __init__(self, remote: Remote, nodes: Nodes, outbox: Outbox, contents: Contents) -> None:
        self._remote, self._nodes, self._outbox, self._contents = remote, nodes, outbox, contents

    async def look(self, record: Record) -> Found:
        """Raises as `Remote` does, but for what is a finding."""
        change = record.change
        node = self._nodes[change.node]
        spot = self._spot(record, node)
        item = await self._item(node)
        if change.kind in (ChangeKind.DELETE, ChangeKind.ATTRIBUTES):
            return Found(Seen(node=item), spot)
        folder = self._nodes.address(spot[0])
        at_name, gone = None, tuple[Number, ...]()
        try:
            if folder is None:
                raise NotFound("the folder is not on the portal")
            at_name = await self._at(folder, spot[1])
            if at_name is None:
                await self._remote.look(folder)
        except (NotFound, NotFolder):
            gone = await self._gone_folders(spot[0])
        if item is None and at_name is None and folder is not None and not gone and change.base is not None:
            item = await self._renamed_nearby(folder, change.base)
        home = None if item is None else await self._home(item, spot[0])
        waits = self._contents.record(node.number) is not None or (item is None and self._is_needed(record))
        same = at_name is not None and await self._is_same(record, node, at_name)
        seen = Seen(node=item, at_name=at_name, same=same, folder_gone=bool(gone), waits=waits)
        inside = bool(gone) and item is not None and item.is_folder and await self._has_name_of(item, gone[0])
        return Found(seen, (spot[0], spot[1]), gone, home, inside)

    def _is_needed(self, record: Record) -> bool:
        """Something in the folder, however deep, waits to be sent."""
        return any(
            self._is_in(number, record.change.node)
            for one in self._outbox
            if one.id != record.id
            for number in (one.change.node, *one.named)
            if number != record.change.node or one.change.node != number
        )

    def _is_in(self, number: Number | None, folder: Number) -> bool:
        while number is not None and number != folder:
            node = self._nodes.get(number)
            number = None if node is None else node.parent
        return number == folder

    async def _has_name_of(self, item: Item, number: Number) -> bool:
        """The item is where a folder that is gone would be made again."""
        place = self._nodes.place(number)
        there = None if place is None else await self._at(*place)
        return there is not None and there.path == item.path

    def _spot(self, record: Record, node: Node) -> tuple[Number, str]:
        fields = record.change.fields
        if fields.parent is not None and fields.name is not None:
            return fields.parent, fields.name
        return (node.parent or 1, node.name)

    async def _item(self, node: Node) -> Item | None:
        """The node itself, where it has an identity wherever it is."""
        address = self._nodes.address(node.number)
        if address is None:
            return None
        if address.node is None and self._portal_has_identities():
            return None
        try:
            found = await self._remote.look(address)
        except (NotFound, NotFolder):
            return None
        if address.node is None and found.kind is not node.kind and node.kind is Kind.FOLDER:
            return None  # another item of that name
        return found

    def _portal_has_identities(self) -> bool:
        return self._remote.capabilities.versions

    async def _at(self, folder: Address, name: str) -> Item | None:
        try:
            return await self._remote.look(Place(folder, name))
        except NotFound:
            return None

    async def _gone_folders(self, number: Number) -> tuple[Number, ...]:
        gone: list[Number] = []
        here: Number | None = number
        while here is not None:
            address, node = self._nodes.address(here), self._nodes.get(here)
            if node is None or node.parent is None:
                break  # the root
            try:
                if address is None:
                    raise NotFound("not on the portal")
                await self._remote.look(address)
                break
            except (NotFound, NotFolder):
                if address is not None or not any(one.makes for one in self._outbox.of_node(here)):
                    gone.append(here)
            here = node.parent
        return tuple(reversed(gone))

    async def _renamed_nearby(self, folder: Address, version: str) -> Item | None:
        """On a portal without identities: the file whose content is known by that id, when just one has it."""
        if self._portal_has_identities():
            return None
        listing = await self._remote.list(folder)
        found = [item for item in listing.items if item.id == version]
        return found[0] if len(found) == 1 else None

    async def _home(self, item: Item, nearby: Number) -> Number | None:
        """Our number of the folder that an item is in: known, or met now with the folders above it."""
        path = item.path.rpartition("/")[0]
        known = self._nodes.address(nearby)
        if known is not None and known.path == path:
            return nearby
        above: list[Item] = []
        while path.count("/") >= 1:
            folder = await self._remote.look(Address(path))
            number = self._nodes.number_of(folder)
            if number is not None:
                for one in reversed(above):
                    number = self._nodes.meet([one], number)[0].number
                return number
            above.append(folder)
            path = path.rpartition("/")[0]
        return None

    # --- the same content -------------------------------------------------------------------------------------------

    async def _is_same(self, record: Record, node: Node, item: Item) -> bool:
        """What is there is what the change would have made."""
        match record.change.kind:
            case ChangeKind.SYMLINK:
                if not self._remote.capabilities.attributes:  # a link is an empty file there
                    return record.unsure and item.kind is Kind.FILE and item.size_bytes == 0
                return is_equal_link(item, record.change.fields.attributes.symlink or "")
            case ChangeKind.MOVE:
                if node.kind is Kind.FOLDER or node.item is None:
                    return item.kind is node.kind
                # Of a node that only an earlier mount has seen it is not known which content that was.
                return item.kind is node.kind and node.item.id in (None, item.id)
            case ChangeKind.CONTENT:
                return item.kind is Kind.FILE and await self._has_content(record, item)
        return False

    async def _has_content(self, record: Record, item: Item) -> bool:
        try:
            staged = self._contents.staged(record)
        except FileNotFoundError:
            return False
        if item.size_bytes != staged.size_bytes or staged.holes(0, staged.size_bytes):
            return False
        digest = item.digests.get("md5")
        if digest is not None:
            return digest == await md5_of(staged)

        def compare(offset: int, data: bytes) -> None:
            if staged.read(offset, offset + len(data)) != data:
                raise _Differs

        try:
            content = ContentRef(item.id or "", item.size_bytes, item.version)
            await self._remote.fetch(content, 0, item.size_bytes, compare)
        except (_Differs, NotFound, VersionGone, VersionMismatch):
            return False
        return True
