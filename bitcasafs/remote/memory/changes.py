"""Operations carried out on a drive in memory: the rules of protocol 2.2 in plain synchronous code.

Each function finishes or raises with nothing changed. Who uses: `memory.client`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from bitcasafs.dialects.attributes import merge
from bitcasafs.dialects.names import check_name, numbered
from bitcasafs.errors import (
    ChecksumMismatch,
    Exists,
    Forbidden,
    IsFolder,
    Loop,
    NotEmpty,
    NotFolder,
    NotFound,
    QuotaExceeded,
    ReadOnly,
    VersionMismatch,
)
from bitcasafs.remote.memory.drive import MemoryDrive, Node
from bitcasafs.values.items import Address, AttributeChange, Attributes, RootKind, Version
from bitcasafs.values.operations import (
    Delete,
    Made,
    Mkdir,
    Move,
    OnExisting,
    Operation,
    Place,
    Put,
    SetAttributes,
    Symlink,
)


@dataclass(slots=True)
class Changer:
    """Changes `drive` as one client sees it: `by_node` False and `version_of` an id, for a historical portal."""

    drive: MemoryDrive
    by_node: bool = True

    def apply(self, operation: Operation, data: bytes | None) -> Node | None:
        """The node after the operation (None after a delete). `operation` names no other (`Made` is resolved)."""
        match operation:
            case Mkdir():
                return self._mkdir(operation)
            case Put():
                assert data is not None
                return self._put(operation, data)
            case Symlink():
                return self._symlink(operation)
            case SetAttributes():
                return self._set_attributes(operation)
            case Move():
                return self._move(operation)
            case Delete():
                self._delete(operation)
                return None

    def current(self, operation: Operation) -> Node | None:
        """The present item that an operation failed on, if there is one to tell of."""
        try:
            match operation:
                case Mkdir() | Put() | Symlink():
                    return self._folder(operation.parent).children_or_empty.get(operation.name)
                case Move():
                    taken = self._folder(operation.parent).children_or_empty.get(operation.name)
                    return taken if taken is not None else self.find(operation.target)
                case SetAttributes() | Delete():
                    return self.find(operation.target)
        except (NotFound, NotFolder):
            return None

    def present(self, put: Put) -> Node | None:
        """What has the name that `put` wants. NotFound, NotFolder: the parent."""
        return self._folder(put.parent).children_or_empty.get(put.name)

    def check_replaceable(self, put: Put) -> None:
        """Raises what an overwriting `put` would be refused with."""
        self._taken(self._changeable_folder(put.parent), check_name(put.name), put.exists, put.if_match)

    # --- finding ---------------------------------------------------------------------------------------------------

    def find(self, target: Address | Place | Made) -> Node:
        assert not isinstance(target, Made)
        if isinstance(target, Place):
            return self.drive.child(self._folder(target.parent), target.name)
        return self.drive.find(target, by_node=self.by_node)

    def _folder(self, parent: Address | Made) -> Node:
        node = self.find(parent)
        if not node.is_folder:
            raise NotFolder(f"{node.path} is not a folder")
        return node

    def _changeable_folder(self, parent: Address | Made) -> Node:
        folder = self._folder(parent)
        _check_changeable(folder)
        return folder

    def _check_match(self, node: Node | None, wanted: Version | None) -> None:
        """`wanted` is a version, or a folder's revision in decimal; on a historical portal a file's id."""
        if wanted is None:
            return
        if node is None:
            raise VersionMismatch("the item is gone")
        have = str(node.revision) if node.is_folder else node.version if self.by_node else node.content_id
        if have != wanted:
            raise VersionMismatch(f"{node.path} was changed by somebody else")

    # --- operations ------------------------------------------------------------------------------------------------

    def _mkdir(self, operation: Mkdir) -> Node:
        folder = self._changeable_folder(operation.parent)
        name = check_name(operation.name)
        present = folder.children_or_empty.get(name)
        if present is not None:
            if operation.exists is OnExisting.MERGE and present.is_folder:
                return present
            raise Exists(f"{present.path} exists")
        attributes = merge(Attributes(), operation.attributes)
        node = self.drive.add(folder, name, folder=True)
        self._finish(node, attributes, operation.attributes, operation.parent_mtime_ns)
        return node

    def _put(self, operation: Put, data: bytes) -> Node:
        folder = self._changeable_folder(operation.parent)
        name = check_name(operation.name)
        present = self._taken(folder, name, operation.exists, operation.if_match)
        if operation.md5 is not None and operation.md5 != hashlib.md5(data, usedforsecurity=False).hexdigest():
            raise ChecksumMismatch(f"{name}: other bytes arrived than were sent", applied=False)
        self._check_quota(len(data) - (present.size_bytes if present else 0))
        if present is None and name in folder.children_or_empty:
            name = next(
                free for number in range(1, 10_000) if (free := numbered(name, number)) not in folder.children_or_empty
            )
        attributes = _merged_for_content(present, operation.attributes)
        node = present if present is not None else self.drive.add(folder, name, folder=False)
        self.drive.fill(node, data)
        self._finish(node, attributes, operation.attributes, operation.parent_mtime_ns)
        return node

    def _symlink(self, operation: Symlink) -> Node:
        folder = self._changeable_folder(operation.parent)
        name = check_name(operation.name)
        present = self._taken(folder, name, operation.exists, operation.if_match)
        values = {**operation.attributes.values, "symlink": operation.symlink}
        change = AttributeChange(values, operation.attributes.removed, operation.attributes.xattrs)
        attributes = _merged_for_content(present, change)
        node = present if present is not None else self.drive.add(folder, name, folder=False)
        self.drive.fill(node, b"")
        self._finish(node, attributes, change, operation.parent_mtime_ns)
        return node

    def _taken(self, folder: Node, name: str, exists: OnExisting, if_match: Version | None) -> Node | None:
        """The file to overwrite, or None: a new one is made. Raises where `exists` or the condition says no."""
        present = folder.children_or_empty.get(name)
        if exists is OnExisting.OVERWRITE:
            if present is not None and present.is_folder:
                raise IsFolder(f"{present.path} is a folder")
            self._check_match(present, if_match)
            return present
        if present is not None and exists is not OnExisting.RENAME:
            raise Exists(f"{present.path} exists")
        return None

    def _set_attributes(self, operation: SetAttributes) -> Node:
        node = self.find(operation.target)
        _check_changeable(node)
        if operation.if_revision is not None and node.revision != operation.if_revision:
            raise VersionMismatch(f"{node.path} was changed by somebody else")
        attributes = merge(node.attributes, operation.change)
        self._finish(node, attributes, operation.change, operation.parent_mtime_ns)
        return node

    def _move(self, operation: Move) -> Node:
        node = self.find(operation.target)
        _check_changeable(node, itself=True)
        folder = self._changeable_folder(operation.parent)
        name = check_name(operation.name)
        self._check_match(node, operation.if_match)
        if node in folder.lineage():
            raise Loop(f"{node.path} cannot move into itself")
        other = folder.children_or_empty.get(name)
        before = node.parent
        if other is node:
            return node
        self._check_match(other, operation.if_match_target)
        if operation.exists is OnExisting.EXCHANGE:
            self._exchange(node, other, folder, name)
        else:
            if other is not None:
                _check_replaceable(node, other, operation.exists)
                self.drive.forget(other)
            self._hook(node, folder, name)
        self.drive.touch(node)
        for changed in {before, folder}:
            self._set_mtime(changed, operation.parent_mtime_ns)
        return node

    def _exchange(self, node: Node, other: Node | None, folder: Node, name: str) -> None:
        if other is None:
            raise NotFound(f"no {name!r} in {folder.path} to exchange with")
        assert node.parent is not None
        if other in node.parent.lineage():
            raise Loop(f"{other.path} cannot move into itself")
        place = node.parent, node.name
        self.drive.unhook(other)
        self._hook(node, folder, name)
        other.parent, other.name = place
        place[0].children_or_empty[place[1]] = other
        self.drive.touch(other)

    def _hook(self, node: Node, folder: Node, name: str) -> None:
        self.drive.unhook(node)
        node.parent, node.name = folder, name
        folder.children_or_empty[name] = node

    def _delete(self, operation: Delete) -> None:
        node = self.find(operation.target)
        _check_changeable(node, itself=True)
        self._check_match(node, operation.if_match)
        if node.children and not operation.recursive:
            raise NotEmpty(f"{node.path} is not empty")
        parent = node.parent
        self.drive.forget(node)
        self.drive.changes += 1
        self._set_mtime(parent, operation.parent_mtime_ns)

    # --- the rest of every operation -------------------------------------------------------------------------------

    def _check_quota(self, growth: int) -> None:
        limit = self.drive.quota_bytes
        if limit is not None and growth > 0 and self.drive.used_bytes + growth > limit:
            raise QuotaExceeded(f"the drive holds at most {limit} bytes")

    def _finish(self, node: Node, attributes: Attributes, change: AttributeChange, parent_mtime_ns: int | None) -> None:
        """`attributes` were merged before anything was altered: the merge can refuse."""
        node.attributes = attributes
        mtime_ns = change.values.get("mtime_ns")
        if isinstance(mtime_ns, int):
            node.mtime_ns = mtime_ns
        self.drive.touch(node)
        self._set_mtime(node.parent, parent_mtime_ns)

    def _set_mtime(self, folder: Node | None, mtime_ns: int | None) -> None:
        if folder is not None and mtime_ns is not None:
            folder.mtime_ns = mtime_ns
            self.drive.touch(folder)


def _merged_for_content(present: Node | None, change: AttributeChange) -> Attributes:
    """New content keeps the attributes, but what was a link or a pipe becomes a file (unless the change says so)."""
    base = Attributes() if present is None else replace(present.attributes, symlink=None, special=None)
    return merge(base, change)


def _check_changeable(node: Node, *, itself: bool = False) -> None:
    if node.top.root is not RootKind.DRIVE:
        raise ReadOnly(f"{node.path} is a mirrored folder")
    if itself and node.root is not None:
        raise Forbidden(f"{node.path} is a root")


def _check_replaceable(node: Node, other: Node, exists: OnExisting) -> None:
    if exists is not OnExisting.OVERWRITE:
        raise Exists(f"{other.path} exists")
    if other.is_folder and not node.is_folder:
        raise IsFolder(f"{other.path} is a folder")
    if node.is_folder and not other.is_folder:
        raise NotFolder(f"{other.path} is not a folder")
    if other.children:
        raise NotEmpty(f"{other.path} is not empty")
