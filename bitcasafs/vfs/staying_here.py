"""What stays on this machine: files and folders whose names match `-o local=`, and what is in such folders.

They are records of the outbox like others, but are never sent. Litter of programs (lock files, trash, swap files) need
not travel. What is on the portal already under such a name is the portal's. Pure but for looking at records.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from bitcasafs.errors import CrossDevice
from bitcasafs.values.items import Kind
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import Number
from bitcasafs.writing.outbox import Outbox


class StayingHere:
    def __init__(self, outbox: Outbox, globs: Sequence[str]) -> None:
        self._outbox, self._globs = outbox, globs

    def is_here(self, number: Number) -> bool:
        """The node, or the folder, is never sent."""
        return any(record.change.fields.local for record in self._outbox.of_node(number))

    def belongs(self, folder: Number, name: str) -> bool:
        """A new item of that name in that folder stays here."""
        return any(fnmatch.fnmatchcase(name, glob) for glob in self._globs) or self.is_here(folder)

    def after_move(self, node: Node, other: Node | None, folder: Number, name: str, *, exchange: bool) -> bool:
        """Whether `node` stays here under its new name, where `other` is now. CrossDevice: it cannot get there by a
        rename; `mv` then copies.
        """
        was = self.is_here(node.number)
        becomes = self.belongs(folder, name) and (other is None or other.item is None)
        others = other is not None and self.is_here(other.number)
        if exchange and (was or others):
            raise CrossDevice("what stays on this machine cannot be exchanged")
        if node.kind is Kind.FOLDER and (was or becomes):
            raise CrossDevice("a folder that stays on this machine, or would, cannot be renamed")
        if becomes and not was and (node.item is not None or len(self._outbox.of_node(node.number)) != 1):
            raise CrossDevice(f"{name!r} stays on this machine, and what is to be renamed is on the portal")
        if node.item is not None and others:
            raise CrossDevice(f"{name!r} stays on this machine, and what is to be renamed is on the portal")
        return becomes
