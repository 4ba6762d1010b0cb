"""Open folders: rows with cookies that stay what they are while the folder is open.

A cookie is the row's position in the snapshot that opendir or rewinddir took, from 1: stable, because the snapshot is.
"""

from __future__ import annotations

from collections.abc import Iterator

import trio

from bitcasafs.errors import NotFolder, Stale
from bitcasafs.values.items import Kind
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.entry import Handle, Row
from bitcasafs.vfs.handles import FolderHandle
from bitcasafs.writing.change import Number


class Folders:
    def __init__(self, core: Core) -> None:
        self._nodes, self._overlay, self._view = core.nodes, core.overlay, core.view
        self._handles, self._outbox = core.handles, core.outbox

    async def open(self, number: Number) -> Handle:
        """Waits for the network when the folder is not known. NotFolder."""
        node = self._nodes[number]
        if node.kind is not Kind.FOLDER:
            raise NotFolder("this is not a folder")
        rows = await self._overlay.rows(number)
        found = []
        for cookie, (name, child) in enumerate(rows.items(), start=1):
            try:
                found.append(Row(cookie, name, self._view.entry(self._nodes[child])))
            except Stale:  # gone between the listing and here
                continue
        return self._handles.add(FolderHandle(node, tuple(found)))

    def rows(self, handle: Handle, cookie: int) -> Iterator[Row]:
        """The rows after `cookie` (0: all)."""
        return iter(self._handles.folder(handle).rows[cookie:])

    def handed_over(self, row: Row) -> None:
        """The kernel took the row with its attributes: one lookup."""
        self._nodes[row.entry.number].lookups += 1

    def release(self, handle: Handle) -> None:
        released = self._handles.release(handle)
        if not released.node.openers:
            self._nodes.closed(released.node)

    async def fsync(self, handle: Handle, data_only: bool) -> None:
        """Changes of names are in the outbox or on the portal: the outbox is made durable."""
        self._handles.folder(handle)
        await trio.to_thread.run_sync(self._outbox.sync)
