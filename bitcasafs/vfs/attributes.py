"""Attributes: told, set; the space of the drive; what users may ask of a file (`user.bitcasafs.state`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio
from cachetools import TTLCache

from bitcasafs.errors import Exists, NoAttribute, NoSpace, TooLarge, Unavailable
from bitcasafs.values.items import Attributes, Profile
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.entry import Entry, Handle, Space, Wanted
from bitcasafs.vfs.files import Files
from bitcasafs.vfs.listings import PATIENCE_SECONDS
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import MAKING, Change, ChangeKind, Fields, Number, State
from bitcasafs.writing.laying import laid_over

UNLIMITED_BYTES = 1 << 50
"""What df shows of a drive without a limit: 1 PiB."""
XATTR_BYTES = 64 << 10
"""Protocol 2.4, and the kernel's own limit of one value."""
PROFILE_SECONDS = 60.0
"""How long the drive's use is believed; df must not cost a round trip each."""
_WITH_ATTRIBUTES = MAKING | {ChangeKind.ATTRIBUTES}


class AttributeCalls:
    def __init__(self, core: Core, files: Files, *, disk: Path | None = None) -> None:
        """`disk`: a folder of the disk that holds the drive, when it is this machine's (the embedded server)."""
        self._remote, self._nodes, self._listings = core.remote, core.nodes, core.listings
        self._view, self._tree, self._handles = core.view, core.tree, core.handles
        self._contents, self._outbox, self._scheduler = core.contents, core.outbox, core.scheduler
        self._now_ns = core.now_ns
        self._files, self._disk = files, disk
        self._profiles: TTLCache[str, Profile] = TTLCache(maxsize=1, ttl=PROFILE_SECONDS, timer=trio.current_time)
        self._profile = Profile()

    async def get(self, number: Number, handle: Handle | None = None) -> Entry:
        """Waits for the network when the listing that told of the node expired; serves what is known without it."""
        node = self._nodes[number]
        if handle is None and node.parent is not None and node.item is not None and not node.unlinked:
            # Never listed in this mount, and the portal is away: what the outbox remembers must do.
            with contextlib.suppress(Unavailable):
                await self._listings.fresh(node.parent)
        return self._view.entry(self._nodes[number])

    async def set(self, number: Number, wanted: Wanted, handle: Handle | None = None) -> Entry:
        """truncate, chmod, chown, utimensat."""
        node = self._nodes[number]
        if wanted.size_bytes is not None:
            opened = None if handle is None else self._handles.file(handle)
            await self._files.resize(node, wanted.size_bytes, opened)
        now = self._now_ns()
        change = Attributes(
            mode=wanted.permissions, uid=wanted.uid, gid=wanted.gid, mtime_ns=wanted.mtime_ns, atime_ns=wanted.atime_ns
        )
        if change != Attributes():
            self._set(node, replace(change, ctime_ns=now))
        return self._view.entry(node)

    def _set(self, node: Node, change: Attributes, dropped: tuple[str, ...] = ()) -> None:
        """With what of the node waits to be sent, as a change of its own, or, where the portal keeps none and nothing
        waits, on this machine.
        """
        if node.unlinked:
            return
        if change.mtime_ns is not None:
            node.modified_ns = None
        records = self._outbox.of_node(node.number)
        last = next((one for one in reversed(records) if one.change.kind in _WITH_ATTRIBUTES), None)
        if last is not None and last.quiet:
            fields = last.change.fields
            attributes = laid_over(fields.attributes, change, dropped)
            gone = (*(name for name in fields.dropped if name not in change.xattrs), *dropped)
            self._contents.change_fields(last, replace(fields, attributes=attributes, dropped=gone))
        elif self._tree.keeps_here() and last is None:
            self._tree.keep(node, change, dropped)
        else:
            self._tree.remember(node.number)
            fields = Fields(attributes=change, dropped=dropped)
            self._outbox.append(Change(ChangeKind.ATTRIBUTES, node.number, None, fields))

    async def space(self) -> Space:
        """The drive's quota, or the disk that holds it. Never fails: what was last known is served offline."""
        if "profile" not in self._profiles:
            self._profiles["profile"] = self._profile  # whoever asks meanwhile does not wait as well
            with contextlib.suppress(Unavailable), trio.move_on_after(PATIENCE_SECONDS):
                # df of a drive whose portal is away must neither fail nor hang.
                self._profile = self._profiles["profile"] = await self._remote.profile()
        files = self._profile.files or 0
        if self._profile.quota_bytes is not None:
            free = max(0, self._profile.quota_bytes - self._profile.used_bytes)
            return Space(self._profile.quota_bytes, free, files)
        if self._disk is not None:
            disk = os.statvfs(self._disk)
            return Space(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize, files)
        return Space(UNLIMITED_BYTES, UNLIMITED_BYTES - self._profile.used_bytes, files)

    # --- extended attributes ---

    async def get_xattr(self, number: Number, name: str) -> bytes:
        """NoAttribute unless it is one of ours."""
        node = self._nodes[number]
        if name == "user.bitcasafs.state":
            return self._state(node).encode()
        found = self._view.attributes(node).xattrs.get(name)
        if found is None:
            raise NoAttribute(f"there is no attribute {name}")
        return found

    async def list_xattrs(self, number: Number) -> Sequence[str]:
        """Ours are left out: cp -a and rsync -X would carry them away."""
        return sorted(self._view.attributes(self._nodes[number]).xattrs)

    async def set_xattr(self, number: Number, name: str, value: bytes, flags: int = 0) -> None:
        """setxattr(2) of a `user.` attribute. Exists (XATTR_CREATE), NoAttribute (XATTR_REPLACE), TooLarge (a value),
        NoSpace (all of a file's are more than a portal keeps).
        """
        node = self._nodes[number]
        present = self._view.attributes(node).xattrs
        if flags & os.XATTR_CREATE and name in present:
            raise Exists(f"there is an attribute {name} already")
        if flags & os.XATTR_REPLACE and name not in present:
            raise NoAttribute(f"there is no attribute {name}")
        if len(value) > XATTR_BYTES:
            raise TooLarge(f"an attribute holds at most {XATTR_BYTES} bytes")
        others = sum(len(key.encode()) + len(held) for key, held in present.items() if key != name)
        if others + len(name.encode()) + len(value) > XATTR_BYTES:
            raise NoSpace(f"the attributes of a file hold at most {XATTR_BYTES} bytes together")
        self._set(node, Attributes(xattrs={name: value}, ctime_ns=self._now_ns()))

    async def remove_xattr(self, number: Number, name: str) -> None:
        """NoAttribute."""
        node = self._nodes[number]
        if name not in self._view.attributes(node).xattrs:
            raise NoAttribute(f"there is no attribute {name}")
        self._set(node, Attributes(ctime_ns=self._now_ns()), (name,))

    def _state(self, node: Node) -> str:
        records = self._outbox.of_node(node.number)
        for record in records:
            if record.state is State.PROBLEM:
                return f"problem: {record.reason}"
        for sending in self._scheduler.statistics().sending:
            if sending.node == node.number:
                return f"sending {sending.sent_bytes * 100 // max(1, sending.size_bytes)}%"
        if any(record.change.fields.local for record in records):
            return "local"
        return "pending" if records else "remote"
