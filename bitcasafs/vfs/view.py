"""The attributes of a node as the kernel is told them: the portal's, with what is pending here laid over.

Pure but for reading nodes, listings and staged sizes. What a portal does not keep: files 0644, folders 0755, links
0777, owned by the mounting user, times from `mtime`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bitcasafs.values.items import Attributes, Kind
from bitcasafs.vfs.entry import Entry
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.nodes import ROOT, Node
from bitcasafs.writing.change import ChangeKind
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.laying import NONE, laid_over
from bitcasafs.writing.outbox import Outbox

DEFAULT_PERMISSIONS = {
    Kind.FILE: 0o644,
    Kind.FOLDER: 0o755,
    Kind.SYMLINK: 0o777,
    Kind.FIFO: 0o644,
    Kind.SOCKET: 0o755,
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns items that the portal keeps no owner for."""

    uid: int
    gid: int


class View:
    def __init__(
        self, listings: Listings, ledger: Ledger, outbox: Outbox, contents: Contents, owner: Owner, started_ns: int
    ) -> None:
        self._listings, self._ledger, self._outbox, self._contents = listings, ledger, outbox, contents
        self._owner = owner
        self._started_ns = started_ns

    def attributes(self, node: Node) -> Attributes:
        """Those that the portal keeps, and the pending changes of them."""
        found = laid_over(node.item.attributes, self._ledger.kept(node.number)) if node.item else NONE
        for record in self._outbox.of_node(node.number):
            if record.change.kind not in (ChangeKind.MOVE, ChangeKind.DELETE):
                found = laid_over(found, record.change.fields.attributes, record.change.fields.dropped)
        if node.modified_ns is not None:
            found = replace(found, mtime_ns=node.modified_ns, ctime_ns=node.modified_ns)
        return found

    def size_bytes(self, node: Node) -> int:
        if node.kind is Kind.SYMLINK:
            return len((self.attributes(node).symlink or "").encode())
        if node.kind is Kind.FOLDER:
            return 0
        staged = self._contents.of_node(node.number)
        if staged is not None:
            return staged[0].size_bytes
        return node.item.size_bytes if node.item is not None else 0

    def entry(self, node: Node) -> Entry:
        attributes = self.attributes(node)
        mtime_ns = attributes.mtime_ns
        if mtime_ns is None:
            from_listing = node.item is not None and node.number != ROOT
            mtime_ns = int(node.item.mtime_ms * 1_000_000) if from_listing and node.item else self._started_ns
        believed = self._believed_seconds(node)
        return Entry(
            number=node.number,
            kind=node.kind,
            permissions=DEFAULT_PERMISSIONS[node.kind] if attributes.mode is None else attributes.mode,
            uid=self._owner.uid if attributes.uid is None else attributes.uid,
            gid=self._owner.gid if attributes.gid is None else attributes.gid,
            size_bytes=self.size_bytes(node),
            atime_ns=mtime_ns if attributes.atime_ns is None else attributes.atime_ns,
            mtime_ns=mtime_ns,
            ctime_ns=mtime_ns if attributes.ctime_ns is None else attributes.ctime_ns,
            nlink=0 if node.unlinked else 1,
            entry_timeout_seconds=believed,
            attr_timeout_seconds=believed,
        )

    def _believed_seconds(self, node: Node) -> float:
        """Until the listing that told of the node expires."""
        if node.unlinked:
            return 0.0
        return self._listings.freshness_seconds(ROOT if node.parent is None else node.parent)
