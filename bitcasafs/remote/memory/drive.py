"""The state of a drive in memory: nodes, names, contents and the drive's clock, shared by everybody who looks at it.

Who uses: `memory.changes` (alters it), `memory.client` (a `Remote` over it). Everything here is synchronous: a function
that runs to its end is the lock.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from bitcasafs.errors import NotFolder, NotFound
from bitcasafs.values.items import Address, Attributes, Cursor, Item, Kind, NodeId, RootKind, Version

_SPECIAL = {"fifo": Kind.FIFO, "socket": Kind.SOCKET}


@dataclass(slots=True, eq=False)
class Node:
    """One file or folder. `children` is None for files; `parent` is None for roots and for what was deleted."""

    id: NodeId
    name: str
    parent: Node | None
    mtime_ns: int
    children: dict[str, Node] | None = None
    content_id: str | None = None
    size_bytes: int = 0
    md5: str = ""
    revision: int = 1
    attributes: Attributes = Attributes()
    root: RootKind | None = None
    drive_id: str = ""

    @property
    def is_folder(self) -> bool:
        return self.children is not None

    @property
    def children_or_empty(self) -> dict[str, Node]:
        """The children of what is known to be a folder."""
        assert self.children is not None
        return self.children

    @property
    def version(self) -> Version | None:
        return None if self.content_id is None else Version(self.content_id[:22])

    @property
    def path(self) -> str:
        return f"/{self.drive_id}" if self.parent is None else f"{self.parent.path}/{self.name}"

    @property
    def top(self) -> Node:
        return self if self.parent is None else self.parent.top

    def lineage(self) -> Iterator[Node]:
        """This node, its folder, and so on up to the root."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(slots=True)
class Content:
    """One content that was once stored: fetched by `id` or by version, kept after its node is gone."""

    id: str
    data: bytes


@dataclass(slots=True)
class MemoryDrive:
    """A drive that several `MemoryRemote`s may look at, as two machines look at one portal.

    `now_ns` is the drive's clock. `quota_bytes` None: no limit. `mirrors` are names of read-only roots.
    """

    now_ns: Callable[[], int] = time.time_ns
    quota_bytes: int | None = None
    mirrors: tuple[str, ...] = ()
    changes: int = 0
    roots: list[Node] = field(default_factory=list)
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    answers: dict[str, tuple[str, object]] = field(default_factory=dict)
    """Idempotency key to (digest of the request, the answer it got)."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._add_root("Bitcasa Infinite Drive", RootKind.DRIVE)
        for name in self.mirrors:
            self._add_root(name, RootKind.BACKUP)

    def _add_root(self, name: str, kind: RootKind) -> None:
        drive_id = hashlib.sha256(f"{kind.value}/{name}".encode()).hexdigest()
        node = Node(self._new_id(), name, None, self.now_ns(), {}, root=kind, drive_id=drive_id)
        self.nodes[node.id] = node
        self.roots.append(node)

    def _new_id(self) -> NodeId:
        return NodeId(f"node-{next(self._numbers):08d}")

    # --- finding ---------------------------------------------------------------------------------------------------

    def find(self, address: Address, *, by_node: bool = True) -> Node:
        """The node at an address; identity goes before path. NotFound, NotFolder (a file where a folder was needed)."""
        if by_node and address.node is not None:
            if address.node in self.nodes:
                return self.nodes[address.node]
            raise NotFound(f"no item {address.node} ({address.path})")
        drive_id, *names = address.path.strip("/").split("/")
        node = next((root for root in self.roots if root.drive_id == drive_id), None)
        if node is None:
            raise NotFound(f"no drive at {address.path}")
        for name in names:
            node = self.child(node, name)
        return node

    def child(self, folder: Node, name: str) -> Node:
        if folder.children is None:
            raise NotFolder(f"{folder.path} is not a folder")
        if name not in folder.children:
            raise NotFound(f"no {name!r} in {folder.path}")
        return folder.children[name]

    @property
    def cursor(self) -> Cursor:
        return Cursor(f"c{self.changes:012d}")

    @property
    def files(self) -> list[Node]:
        return [node for node in self.nodes.values() if not node.is_folder]

    @property
    def used_bytes(self) -> int:
        return sum(node.size_bytes for node in self.files)

    # --- altering --------------------------------------------------------------------------------------------------

    def touch(self, node: Node) -> None:
        """A change of `node` is complete."""
        self.changes += 1
        node.revision += 1

    def add(self, parent: Node, name: str, *, folder: bool) -> Node:
        """A new node in `parent`, whose `name` is free. A file has no content before `fill`."""
        assert name not in parent.children_or_empty
        node = Node(self._new_id(), name, parent, self.now_ns(), {} if folder else None, revision=0)
        parent.children_or_empty[name] = node
        self.nodes[node.id] = node
        return node

    def fill(self, node: Node, data: bytes) -> None:
        """Give a file new content; every content has its own id."""
        seed = f"{node.id}/{next(self._numbers)}".encode()
        node.content_id = base64.urlsafe_b64encode(hashlib.sha512(seed).digest()).decode()
        node.size_bytes = len(data)
        node.md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        node.mtime_ns = self.now_ns()
        content = Content(node.content_id, data)
        self.contents[content.id] = content
        self.contents[content.id[:22]] = content

    def unhook(self, node: Node) -> None:
        """Take a node out of its folder; it is still known by its id."""
        assert node.parent is not None
        del node.parent.children_or_empty[node.name]

    def forget(self, node: Node) -> None:
        """Unhook a node and drop it with all below it. Contents stay fetchable by version."""
        self.unhook(node)
        below = [node]
        while below:
            gone = below.pop()
            del self.nodes[gone.id]
            below += (gone.children or {}).values()

    def drop_content(self, version: Version) -> None:
        """Forget an old content, as a portal does after its days of keeping: fetching it says VersionGone."""
        content = self.contents.pop(version)
        self.contents.pop(content.id, None)

    # --- telling ---------------------------------------------------------------------------------------------------

    def item(self, node: Node) -> Item:
        """The node as the wire would tell it, with every extension."""
        attributes = replace(node.attributes, mtime_ns=node.mtime_ns)
        return Item(
            name=node.name,
            path=node.path,
            kind=_kind(node),
            mtime_ms=node.mtime_ns // 1_000_000,
            mirrored=node.top.root is not RootKind.DRIVE,
            category="folders" if node.is_folder else "other",
            id=node.content_id,
            size_bytes=node.size_bytes,
            extension="" if node.is_folder else node.name.rpartition(".")[2] if "." in node.name else "",
            node=node.id,
            parent=node.parent.id if node.parent else None,
            version=node.version,
            revision=node.revision,
            digests={} if node.is_folder else {"md5": node.md5},
            attributes=attributes,
            root=node.root,
            mount_point="/" if node.root else None,
        )


def _kind(node: Node) -> Kind:
    if node.is_folder:
        return Kind.FOLDER
    if node.attributes.symlink is not None:
        return Kind.SYMLINK
    return _SPECIAL.get(node.attributes.special or "", Kind.FILE)
