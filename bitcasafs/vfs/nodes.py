"""Nodes: what the kernel calls inodes. One number for a node's life, whatever happens to its names and content.

A node is found by its number (the kernel's word), by its identity on the portal, or, on a historical portal, by its
folder and name. Nothing here waits; a node's place is the one on the portal (see `overlay` for what users are told).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from bitcasafs.errors import Stale
from bitcasafs.remote.interface import ContentRef
from bitcasafs.values.items import Address, Attributes, Item, Kind, Version
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.writing.change import Number
from bitcasafs.writing.known_node import KnownNode
from bitcasafs.writing.staying import Activity

ROOT: Number = 1
"""FUSE_ROOT_ID."""


@dataclass(slots=True, eq=False)
class Node:
    number: Number
    kind: Kind
    item: Item | None
    """As the portal last told of it; None: it is not there yet, or no more."""
    parent: Number | None
    """Folder on the portal (or where it was made here); None: the root, or unlinked."""
    name: str
    lookups: int = 0
    """How often the kernel was given this number, less what it forgot."""
    openers: int = 0
    writers: int = 0
    unlinked: bool = False
    doomed: bool = False
    """Unlinked here by a change that is not on the portal yet: a listing may still tell of it."""
    superseded: bool = False
    """Another machine wrote a new version while the file was open here: the name leads to another node now, and this
    one serves its handles to the end."""
    sketched: bool = False
    """Known from an earlier mount's changes alone: where it is on the portal, not what it is like."""
    noted: int = -1
    """A folder: `Nodes.moves` when the outbox last noted how it is found again."""
    pages_valid: bool = True
    """What the kernel keeps of the content, if anything, is of this version."""
    modified_ns: int | None = None
    """Time of the last write since the content was sealed."""
    activity: Activity | None = None
    """What holds back content of a file that is open for writing; None: what is sealed may be sent."""
    problem: Exception | None = None
    """Why the portal refused it: told once to the next flush or fsync of a handle that was open."""

    @property
    def version(self) -> Version | None:
        """What a change of the content is based on."""
        if self.item is None:
            return None
        return self.item.version or (Version(self.item.id) if self.item.id else None)

    @property
    def content(self) -> ContentRef | None:
        if self.item is None or self.item.id is None:
            return None
        return ContentRef(self.item.id, self.item.size_bytes, self.item.version)

    def has_content_of(self, item: Item) -> bool:
        """Also of a node that only an earlier mount has seen: which version that was is not known."""
        known = None if self.item is None else self.item.version or self.item.id
        return known is None or known == (item.version or item.id)


@dataclass(slots=True)
class Nodes:
    """All known nodes of one drive."""

    _ledger: Ledger
    _by_number: dict[Number, Node] = field(default_factory=dict)
    _by_key: dict[str, Number] = field(default_factory=dict)
    _last: Number = ROOT
    pending: Callable[[Number], bool] = lambda number: False
    """The node has changes that are not on the portal."""
    moves: int = 0
    """Counts what changes where known folders are: rare, so whoever notes that need not look at each every time."""

    def seed(self, root: Item, known: Iterable[KnownNode]) -> None:
        """The root, and the nodes that an earlier mount's changes name."""
        self._by_number[ROOT] = Node(ROOT, Kind.FOLDER, root, None, "")
        self._last = max(ROOT, self._ledger.highest)
        self._bind(self._by_number[ROOT])
        for one in known:
            self._last = max(self._last, one.number)
            if one.number == ROOT:
                continue
            item = None if one.path is None else Item(one.name, one.path, one.kind, node=one.node)
            self._by_number[one.number] = Node(one.number, one.kind, item, one.parent, one.name)
            self._by_number[one.number].sketched = item is not None
            self._bind(self._by_number[one.number])

    def __len__(self) -> int:
        return len(self._by_number)

    def __getitem__(self, number: Number) -> Node:
        """Stale: the kernel's number is of a node that is not known any more."""
        try:
            return self._by_number[number]
        except KeyError:
            raise Stale(f"inode {number} is not known any more") from None

    def make(self, kind: Kind, parent: Number, name: str) -> Node:
        """A node that is not on the portal yet."""
        self._last += 1
        node = self._by_number[self._last] = Node(self._last, kind, None, parent, name)
        return node

    def meet(self, items: Sequence[Item], parent: Number) -> list[Node]:
        """The nodes of the rows that the portal listed in `parent`, in their order. A row that no mount has met gets
        the next number.
        """
        known = self._ledger.numbers(key for item in items if (key := key_of(item, parent)) not in self._by_key)
        new: list[tuple[str, Number]] = []
        met = [self._meet(item, parent, known, new) for item in items]
        self._ledger.bind(new)
        return met

    def _meet(self, item: Item, parent: Number, known: dict[str, Number], new: list[tuple[str, Number]]) -> Node:
        key = key_of(item, parent)
        number = self._by_key.get(key) or known.get(key)
        node = None if number is None else self._by_number.get(number)
        kind = item.kind if number is None else self._ledger.kind(number, item.kind, item.size_bytes)
        superseded = node is not None and node.openers > 0 and not node.has_content_of(item)
        if node is not None and node.kind is kind and not superseded:
            self._refresh(node, item, parent)
            return node
        if node is not None:
            node.superseded = superseded
        if number is None or node is not None:  # never met, or the number is of what it was before
            self._last += 1
            number, kind = self._last, item.kind
            new.append((key, number))
        node = self._by_number[number] = Node(number, kind, item, parent, item.name)
        self._by_key[key] = number
        return node

    def _refresh(self, node: Node, item: Item, parent: Number) -> None:
        if node.item is not None and (item.revision or 0) < (node.item.revision or 0):
            return  # an answer that was on its way when a change of ours arrived: it is older than what is known
        self._leave(node)
        if node.kind is Kind.FOLDER and (node.parent, node.name) != (parent, item.name):
            self.moves += 1
        if not node.has_content_of(item):
            node.pages_valid = False
            kept = self._ledger.kept(node.number)
            if kept != Attributes():  # times of the content that was
                self._ledger.keep(node.number, replace(kept, mtime_ns=None, atime_ns=None, ctime_ns=None))
        node.parent, node.name, node.item, node.sketched = parent, item.name, item, False
        node.unlinked = node.doomed
        self._bind(node)

    def arrived(self, node: Node, item: Item, parent: Number) -> Node | None:
        """A change of ours made or moved `node`: it is now `item` in `parent`. Answers the node that had that identity
        before (ours replaced its content), which has none any more.
        """
        self._leave(node)
        key = key_of(item, parent)
        other = self._by_key.get(key)
        replaced = self._by_number.get(other) if other is not None and other != node.number else None
        if replaced is not None:
            self.gone(replaced)
        if node.kind is Kind.FOLDER:
            self.moves += 1
        node.superseded = False
        node.sketched = node.sketched and item is node.item  # moved by what an earlier mount knew of it
        node.item, node.parent, node.name = item, parent, item.name
        self._bind(node)
        self._ledger.bind([(key, node.number)])
        return replaced

    def gone(self, node: Node) -> None:
        """No name leads to the node any more. Handles and the kernel may still hold its number."""
        self._leave(node)
        if node.item is not None and not node.superseded:
            self._ledger.release(node.number)
        node.parent, node.unlinked, node.doomed = None, True, False
        self._drop_unused(node)

    def detach(self, node: Node) -> None:
        """The portal's item of that identity is another node from here on, or is gone: this one is only here."""
        self._leave(node)
        if node.item is not None:
            self._ledger.release(node.number)
        self.moves += 1
        node.item = None

    def forget(self, number: Number, count: int) -> None:
        """The kernel gives back `count` lookups."""
        node = self._by_number.get(number)
        if node is not None:
            node.lookups = max(0, node.lookups - count)
            self._drop_unused(node)

    def closed(self, node: Node) -> None:
        """The last handle of a node was closed."""
        self._drop_unused(node)

    # --- where nodes are on the portal (writing.sender.Places) ---

    def address(self, number: Number) -> Address | None:
        node = self._by_number.get(number)
        if node is None or node.item is None:
            return None
        # A root of the portal (`-o root=all`) has a path of its own: it is not `/` and its name.
        if node.parent is None or node.item.root is not None:
            return node.item.address
        folder = self.address(node.parent)
        return None if folder is None else Address(folder.child(node.name).path, node.item.node)

    def place(self, number: Number) -> tuple[Address, str] | None:
        node = self._by_number.get(number)
        if node is None or node.item is None or node.parent is None:
            return None
        folder = self.address(node.parent)
        return None if folder is None else (folder, node.name)

    def spot(self, number: Number) -> tuple[Number, str] | None:
        node = self._by_number.get(number)
        return None if node is None or node.parent is None else (node.parent, node.name)

    def number_of(self, item: Item) -> Number | None:
        """Our number of an item that has an identity, or of the root; None: it was not met, or has none."""
        root = self._by_number[ROOT].item
        if root is not None and root.path == item.path:
            return ROOT
        return None if item.node is None else self._by_key.get(item.node)

    def get(self, number: Number) -> Node | None:
        return self._by_number.get(number)

    def _bind(self, node: Node) -> None:
        """A node that is not on the portal is not bound: a row of that name there is another file."""
        if node.item is not None:
            self._by_key[key_of(node.item, node.parent, node.name)] = node.number

    def _leave(self, node: Node) -> None:
        if node.item is not None:
            key = key_of(node.item, node.parent, node.name)
            if self._by_key.get(key) == node.number:
                del self._by_key[key]

    def _drop_unused(self, node: Node) -> None:
        if node.superseded and self.pending(node.number):
            return  # it is about to be a copy
        if (node.unlinked or node.superseded) and not (node.doomed or node.lookups or node.openers):
            self._by_number.pop(node.number, None)


def key_of(item: Item, parent: Number | None, name: str | None = None) -> str:
    """How a node is told from others: by its identity on the portal; on a historical one by folder and name, where a
    `/` (which no name has) stands between.
    """
    return item.node or f"{parent}/{item.name if name is None else name}"
