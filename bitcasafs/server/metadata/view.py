"""One transaction's view of the drives of one user: finding items, and remembering what was found.

Who uses: reads, and through `tree.Tree` every change. A view lives no longer than its transaction, in which nothing
changes but by itself, so what it remembers stays true. Paths are walked once a folder, never once a row.
Errors: NotFound, NotFolder, Ambiguous, Forbidden (the portal's root where a folder was needed).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select

from bitcasafs.dialects.names import NodeTarget, PathTarget, parse_target
from bitcasafs.errors import Ambiguous, Forbidden, NotFolder, NotFound
from bitcasafs.server.metadata.rows import (
    DRIVE_COLUMNS,
    NODE_COLUMNS,
    NODES_WITH_CONTENT,
    Drive,
    Entry,
    Node,
    item_of,
    read_drive,
    read_node,
    root_item,
)
from bitcasafs.server.metadata.schema import drives, entries, nodes, users
from bitcasafs.server.metadata.tokens import Tokens
from bitcasafs.values.items import Address, Item, RootKind
from bitcasafs.values.operations import Place

Where = Address | Place | NodeTarget | PathTarget
"""How an item is named: parsed from a URL, or as the values have it. An address' identity goes before its path."""

T = TypeVar("T")

_CHUNK = 500
"""Values in one IN: databases limit how many parameters a statement has."""

_DRIVES = (
    select(*DRIVE_COLUMNS, users.c.quota_bytes)
    .join_from(drives, users)
    .where(users.c.id == bindparam("user"))
    .order_by(drives.c.kind != RootKind.DRIVE.value, drives.c.name)
)
_NODES = select(*NODE_COLUMNS).select_from(NODES_WITH_CONTENT)
_NODES_BY_ID = _NODES.where(nodes.c.id.in_(bindparam("ids", expanding=True)))
_NODES_BY_TOKEN = _NODES.where(nodes.c.token.in_(bindparam("tokens", expanding=True)))
_CHILDREN = (
    select(entries.c.name, *NODE_COLUMNS)
    .select_from(entries.join(NODES_WITH_CONTENT, nodes.c.id == entries.c.node))
    .where(entries.c.parent == bindparam("parent"), entries.c.name.in_(bindparam("names", expanding=True)))
)
_ENTRIES = select(entries.c.node, entries.c.parent, entries.c.name).where(
    entries.c.node.in_(bindparam("ids", expanding=True))
)
_ANY_CHILD = select(entries.c.node).where(entries.c.parent == bindparam("parent")).limit(1)

_up = (
    select(entries.c.node, entries.c.parent, entries.c.name)
    .where(entries.c.node == bindparam("id"))
    .cte("up", recursive=True)
)
_LINEAGE = select(
    _up.union_all(
        select(entries.c.node, entries.c.parent, entries.c.name).join_from(entries, _up, entries.c.node == _up.c.parent)
    )
)


@dataclass(frozen=True, slots=True)
class Spot:
    """A node and the entry by which it was named; `entry` None: the drive itself."""

    node: Node
    entry: Entry | None


class View:
    """Reads through one connection, whose transaction the caller owns. Not thread safe."""

    def __init__(self, connection: Connection, user: int, tokens: Tokens) -> None:
        """NotFound when there is no such user."""
        rows = connection.execute(_DRIVES, {"user": user}).all()
        if not rows:
            raise NotFound("there is no such user")
        self._connection = connection
        self._tokens = tokens
        self.quota_bytes: int | None = rows[0][-1]
        self.drives: dict[int, Drive] = {drive.id: drive for drive in (read_drive(row[:-1]) for row in rows)}
        self.drive = next(drive for drive in self.drives.values() if drive.kind is RootKind.DRIVE)
        """The one that can be changed."""
        self._nodes: dict[int, Node] = {}
        self._by_token: dict[str, int | None] = {}
        self._children: dict[tuple[int, str], int | None] = {}
        self._entries: dict[int, tuple[Entry, ...]] = {}
        self._paths: dict[int, str] = {}

    # --- what is where --------------------------------------------------------------------------------------------

    def spot(self, where: Where) -> Spot:
        """The item, with its entry. Ambiguous when it has several and `where` names none of them."""
        match where:
            case Place(parent, name):
                return self._child(self.folder(parent), name)
            case Address(path, node):
                return self.spot(parse_target(path)) if node is None else self._by_identity(node)
            case NodeTarget(token, name):
                if name is None:
                    return self._by_identity(token)
                return self._child(_folder(self._by_its_token(token)), name)
            case PathTarget(drive, names):
                return self._walk(drive, names)

    def folder(self, where: Where) -> Node:
        """The same, where nothing but a folder will do. NotFolder."""
        return _folder(self.node_at(where))

    def node_at(self, where: Where) -> Node:
        """The same, where the entry does not matter: never Ambiguous."""
        match where:
            case Address(_, token) if token is not None:
                return self._by_its_token(token)
            case NodeTarget(token, None):
                return self._by_its_token(token)
            case _:
                return self.spot(where).node

    def node(self, number: int) -> Node:
        """By its number, which is known to exist."""
        if number not in self._nodes:
            self._load_nodes([number])
        return self._nodes[number]

    def child(self, folder: Node, name: str) -> Node | None:
        key = (folder.id, name)
        if key not in self._children:
            self.load_children(folder.id, [name])
        number = self._children[key]
        return None if number is None else self.node(number)

    def entries(self, node: Node) -> tuple[Entry, ...]:
        """All of them: none of a drive, one of a folder."""
        if node.id not in self._entries:
            self._load_entries([node.id])
        return self._entries[node.id]

    def is_empty(self, folder: Node) -> bool:
        return self._connection.execute(_ANY_CHILD, {"parent": folder.id}).first() is None

    def is_within(self, node: Node, folder: Node) -> bool:
        """Whether `node` is `folder` or somewhere below it. `node` is a folder."""
        return folder.id in self._lineage(node)

    def path(self, folder: Node) -> str:
        """Of a folder, whole."""
        known: str | None = None
        names: list[str] = []
        for number in self._lineage(folder):
            known = self._paths.get(number)
            if known is not None:
                break
            if entry := self._entries[number]:
                names.append(entry[0].name)
            else:
                known = f"/{self.drives[self.node(number).drive].public}"
        path = "/".join([known or "", *reversed(names)])
        self._paths[folder.id] = path
        return path

    def name(self, folder: Node) -> str:
        """A folder has one; a drive has its own."""
        known = self.entries(folder)
        return known[0].name if known else self.drives[folder.drive].name

    def item(self, node: Node, entry: Entry | None) -> Item:
        drive = self.drives[node.drive]
        if entry is None:
            return root_item(node, drive)
        parent = self.node(entry.parent)
        path = f"{self.path(parent)}/{entry.name}"
        return item_of(node, entry.name, path, parent.token, mirrored=drive.mirrored, tokens=self._tokens)

    def current_item(self, node: Node) -> Item | None:
        """By whichever entry comes first; None when it has none and is no drive."""
        if node.id in (drive.root for drive in self.drives.values()):
            return self.item(node, None)
        known = self.entries(node)
        return self.item(node, known[0]) if known else None

    # --- many at once ---------------------------------------------------------------------------------------------

    def load_children(self, folder: int, names: Iterable[str]) -> None:
        """Remember which of `names` are taken."""
        wanted = [name for name in names if (folder, name) not in self._children]
        for some in _chunks(wanted):
            self._children.update(((folder, name), None) for name in some)
            for row in self._connection.execute(_CHILDREN, {"parent": folder, "names": some}):
                self._remember(read_node(row[1:]))
                self._children[folder, row[0]] = row[1]
                self._by_one_entry(self._nodes[row[1]], Entry(folder, row[0]))

    def load_tokens(self, tokens: Iterable[str]) -> None:
        """Remember the nodes of these tokens, and their entries."""
        wanted = [token for token in tokens if token not in self._by_token]
        for some in _chunks(wanted):
            self._by_token.update((token, None) for token in some)
            found = [read_node(row) for row in self._connection.execute(_NODES_BY_TOKEN, {"tokens": some})]
            for node in found:
                self._remember(node)
            self._load_entries([node.id for node in found if node.id not in self._entries])

    def _load_nodes(self, numbers: Sequence[int]) -> None:
        for row in self._connection.execute(_NODES_BY_ID, {"ids": numbers}):
            self._remember(read_node(row))

    def _load_entries(self, numbers: Sequence[int]) -> None:
        found: dict[int, list[Entry]] = {number: [] for number in numbers}
        for some in _chunks(numbers):
            for node, parent, name in self._connection.execute(_ENTRIES, {"ids": some}):
                found[node].append(Entry(parent, name))
        self._entries.update((node, tuple(known)) for node, known in found.items())

    def _remember(self, node: Node) -> None:
        """What was read; never over what this transaction may have changed since."""
        self._nodes.setdefault(node.id, node)
        self._by_token[node.token] = node.id

    def _by_one_entry(self, node: Node, entry: Entry) -> None:
        if node.nlink == 1:
            self._entries.setdefault(node.id, (entry,))

    # --- walking --------------------------------------------------------------------------------------------------

    def _by_its_token(self, token: str) -> Node:
        if token not in self._by_token:
            self.load_tokens([token])
        number = self._by_token[token]
        node = None if number is None else self.node(number)
        if node is None or node.deleted_ns is not None or node.drive not in self.drives:
            raise NotFound(f"there is no item {token}")
        return node

    def _by_identity(self, token: str) -> Spot:
        node = self._by_its_token(token)
        known = self.entries(node)
        if len(known) > 1:
            raise Ambiguous(f"the item {token} has {len(known)} names: say which one is meant")
        return Spot(node, known[0] if known else None)

    def _child(self, folder: Node, name: str) -> Spot:
        child = self.child(folder, name)
        if child is None:
            raise NotFound(f"there is no {name!r} in that folder")
        return Spot(child, Entry(folder.id, name))

    def _walk(self, public: str | None, names: Sequence[str]) -> Spot:
        if public is None:
            raise Forbidden("the portal's root is not an item")
        root = next((drive.root for drive in self.drives.values() if drive.public == public), None)
        if root is None:
            raise NotFound(f"there is no drive {public[:64]!r}")
        spot = Spot(self.node(root), None)
        for name in names:
            if not spot.node.folder:
                raise NotFolder(f"{name!r} is looked for in a file")
            spot = self._child(spot.node, name)
        return spot

    def _lineage(self, folder: Node) -> Iterator[int]:
        """The numbers of this folder, its parent, and so on up to the drive; their entries are known when they come."""
        number = folder.id
        while True:
            if number not in self._entries:
                self._load_lineage(number)
            yield number
            known = self._entries[number]
            if not known:
                return
            number = known[0].parent

    def _load_lineage(self, number: int) -> None:
        self._entries.setdefault(number, ())
        for node, parent, name in self._connection.execute(_LINEAGE, {"id": number}):
            if not self._entries.get(node):
                self._entries[node] = (Entry(parent, name),)
            self._entries.setdefault(parent, ())


def _folder(node: Node) -> Node:
    if not node.folder:
        raise NotFolder("a folder was needed, and a file is there")
    return node


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    left = iter(values)
    while some := list(islice(left, _CHUNK)):
        yield some
