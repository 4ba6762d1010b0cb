"""Names: looked up, made, moved and removed. Every answer comes from the overlay, every change goes into the outbox.

A call waits for listings that it needs, and for nothing else; then it decides and changes between two awaits, so that
calls of several processes never see each other's half. With `-o coherence=strict` the changes that other machines may
compete for wait for the portal as well (`strict`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from bitcasafs.errors import Exists, IsFolder, Loop, NotEmpty, NotFolder, NotFound, Unsupported
from bitcasafs.values.items import Attributes, Kind
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.entry import Absent, Caller, Entry, Opened
from bitcasafs.vfs.files import Files
from bitcasafs.vfs.nodes import Node
from bitcasafs.vfs.removal import Removal
from bitcasafs.vfs.staying_here import StayingHere
from bitcasafs.vfs.strict import Strict
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number


class Names:
    def __init__(self, core: Core, files: Files, removal: Removal, strict: Strict | None, here: StayingHere) -> None:
        self._remote, self._nodes, self._listings = core.remote, core.nodes, core.listings
        self._overlay, self._view, self._tree = core.overlay, core.view, core.tree
        self._contents, self._outbox, self._now_ns = core.contents, core.outbox, core.now_ns
        self._files, self._removal, self._strict, self._here = files, removal, strict, here

    # --- looking ---

    async def lookup(self, parent: Number, name: str) -> Entry | Absent:
        """One lookup is counted with an Entry. NotFolder."""
        self._folder(parent)
        found = await self._overlay.find(parent, name)
        if found is not None and self._nodes[found].superseded:
            # The file was moved away and written anew by another machine while it was open here, and the folder that it
            # went to was listed first: this one must not lead to a number whose open answers ESTALE for ever.
            self._listings.expire(parent)
            found = await self._overlay.find(parent, name)
        if found is None:
            return Absent(self._listings.freshness_seconds(parent))
        return self._given(self._nodes[found])

    def forget(self, counts: Sequence[tuple[Number, int]]) -> None:
        for number, count in counts:
            self._nodes.forget(number, count)

    async def readlink(self, number: Number) -> str:
        node = self._nodes[number]
        target = self._view.attributes(node).symlink
        if node.kind is not Kind.SYMLINK or target is None:
            raise NotFound("this is not a symbolic link")
        return target

    def _given(self, node: Node) -> Entry:
        node.lookups += 1
        return self._view.entry(node)

    def _folder(self, number: Number) -> Node:
        node = self._nodes[number]
        if node.kind is not Kind.FOLDER:
            raise NotFolder("this is not a folder")
        if node.unlinked:
            raise NotFound("this folder was removed")
        return node

    # --- making ---

    async def create(
        self, parent: Number, name: str, permissions: int, flags: int, caller: Caller
    ) -> tuple[Opened, Entry]:
        """open(2) with O_CREAT. Exists with O_EXCL; a file that is there already is opened."""
        self._folder(parent)
        found = await self._find(parent, name, exclusive=bool(flags & os.O_EXCL))
        self._folder(parent)  # somebody may have removed it while its listing was waited for
        if found is not None:
            if flags & os.O_EXCL:
                raise Exists(f"{name!r} is there already")
            opened = await self._files.open(found, flags)
            return opened, self._given(self._nodes[found])
        node = self._nodes.make(Kind.FILE, parent, name)
        with self._outbox.together():
            self._tree.remember(node.number)
            over, over_node = self._removal.replaced_at((parent, name))
            fields = Fields(
                parent=parent,
                name=name,
                over=over,
                over_node=over_node,
                attributes=self._new(permissions, caller),
                local=over_node is None and self._here.belongs(parent, name),
            )
            record = self._contents.begin(Change(ChangeKind.CONTENT, node.number, None, fields), name)
        if self._strict is not None and flags & os.O_EXCL and not fields.local:
            await self._strict.create(node, record)
        return self._files.created(node, flags), self._given(node)

    async def mkdir(self, parent: Number, name: str, permissions: int, caller: Caller) -> Entry:
        return await self._make(ChangeKind.MKDIR, parent, name, self._new(permissions, caller))

    async def symlink(self, parent: Number, name: str, target: str, caller: Caller) -> Entry:
        """On a portal that keeps no links it is an empty file there, and a link on this machine."""
        attributes = self._new(0o777, caller)
        return await self._make(ChangeKind.SYMLINK, parent, name, attributes, target)

    async def _make(
        self, kind: ChangeKind, parent: Number, name: str, attributes: Attributes, target: str | None = None
    ) -> Entry:
        self._folder(parent)
        found = await self._find(parent, name, exclusive=True)
        self._folder(parent)
        if found is not None:
            raise Exists(f"{name!r} is there already")
        if target is not None:
            attributes = replace(attributes, symlink=target)
        node = self._nodes.make(Kind.FOLDER if kind is ChangeKind.MKDIR else Kind.SYMLINK, parent, name)
        fields = Fields(parent=parent, name=name, attributes=attributes, local=self._here.belongs(parent, name))
        change = Change(kind, node.number, None, fields)
        if self._strict is not None and kind is ChangeKind.MKDIR and not fields.local:
            self._tree.remember(node.number)
            await self._strict.make_folder(node, change)
        else:
            with self._outbox.together():
                self._tree.remember(node.number)
                self._outbox.append(change)
        return self._given(node)

    async def _find(self, parent: Number, name: str, *, exclusive: bool) -> Number | None:
        found = await self._overlay.find(parent, name)
        if found is not None and exclusive and self._strict is not None:
            return await self._strict.look_again((parent, name))
        return found

    def _new(self, permissions: int, caller: Caller) -> Attributes:
        now = self._now_ns()
        return Attributes(
            mode=permissions, uid=caller.uid, gid=caller.gid, mtime_ns=now, atime_ns=now, ctime_ns=now, btime_ns=now
        )

    # --- removing and moving ---

    async def unlink(self, parent: Number, name: str) -> None:
        """IsFolder. Handles that are open live on."""
        self._folder(parent)
        await self._listings.fresh(parent)
        node = self._need(parent, name)
        if node.kind is Kind.FOLDER:
            raise IsFolder(f"{name!r} is a folder")
        self._removal.unlink(node, (parent, name))

    async def rmdir(self, parent: Number, name: str) -> None:
        """NotFolder, NotEmpty."""
        self._folder(parent)
        await self._listings.fresh(parent)
        await self._list_if_folder(parent, name)
        node = self._need(parent, name)
        self._need_empty(node, name)
        self._removal.rmdir(node, (parent, name))

    async def rename(self, parent: Number, name: str, new_parent: Number, new_name: str, flags: int) -> None:
        """rename(2), renameat2(2) with RENAME_NOREPLACE and RENAME_EXCHANGE: errors as they say."""
        self._folder(parent)
        self._folder(new_parent)
        await self._listings.fresh(parent)
        await self._listings.fresh(new_parent)
        await self._list_if_folder(new_parent, new_name)
        node, other = self._need(parent, name), self._known(new_parent, new_name)
        if other is not None and flags & RENAME_NOREPLACE:
            raise Exists(f"{new_name!r} is there already")
        if other is None and flags & RENAME_EXCHANGE:
            raise NotFound(f"there is no {new_name!r}")
        if other is node:
            return
        self._refuse_loop(node, new_parent)
        exchange = bool(flags & RENAME_EXCHANGE)
        local = self._here.after_move(node, other, new_parent, new_name, exchange=exchange)
        if exchange:
            assert other is not None
            self._refuse_loop(other, parent)
            if not self._remote.capabilities.batch:
                raise Unsupported("this portal cannot exchange two names")
            self._removal.exchange(node, (parent, name), other, (new_parent, new_name))
            return
        if other is not None:
            self._may_replace(node, other, new_name)
        if other is not None and self._strict is not None and not local:
            if not await self._strict.replace(node, (parent, name), other, (new_parent, new_name)):
                await self.rename(parent, name, new_parent, new_name, flags)
            return
        self._removal.move(node, (parent, name), other, (new_parent, new_name), local=local)

    def _known(self, folder: Number, name: str) -> Node | None:
        found = self._overlay.find_known(folder, name)
        return None if found is None else self._nodes[found]

    def _need(self, folder: Number, name: str) -> Node:
        self._folder(folder)  # somebody may have removed it while its listing was waited for
        found = self._known(folder, name)
        if found is None:
            raise NotFound(f"there is no {name!r}")
        return found

    async def _list_if_folder(self, folder: Number, name: str) -> None:
        """What a folder holds must be known before it is removed or replaced."""
        found = self._known(folder, name)
        if found is not None and found.kind is Kind.FOLDER:
            await self._listings.fresh(found.number)

    def _may_replace(self, node: Node, other: Node, name: str) -> None:
        if node.kind is Kind.FOLDER:
            self._need_empty(other, name)
        elif other.kind is Kind.FOLDER:
            raise IsFolder(f"{name!r} is a folder")

    def _need_empty(self, node: Node, name: str) -> None:
        if node.kind is not Kind.FOLDER:
            raise NotFolder(f"{name!r} is not a folder")
        if self._overlay.rows_known(node.number):
            raise NotEmpty(f"{name!r} is not empty")

    def _refuse_loop(self, node: Node, folder: Number) -> None:
        number: Number | None = folder
        while number is not None:
            if number == node.number:
                raise Loop("a folder cannot move into itself")
            spot = self._overlay.spot(number)
            number = None if spot is None else spot[0]


RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
"""linux/fs.h"""
