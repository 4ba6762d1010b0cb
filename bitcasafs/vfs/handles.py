"""Open files and folders: numbered, each with what it needs until it is released."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from bitcasafs.errors import BadHandle, Stale
from bitcasafs.reading.reader import Reader
from bitcasafs.remote.interface import ContentRef
from bitcasafs.vfs.entry import Handle, Row
from bitcasafs.vfs.nodes import Node


@dataclass(slots=True, eq=False)
class FileHandle:
    node: Node
    readable: bool
    writable: bool
    append: bool
    dirty: bool = False
    """Written since this handle's content was last sealed: its flush seals."""
    reader: Reader | None = None
    reading: ContentRef | None = None
    """What `reader` reads."""

    @classmethod
    def with_flags(cls, node: Node, flags: int) -> FileHandle:
        """`flags` of open(2)."""
        access = flags & os.O_ACCMODE
        return cls(
            node,
            readable=access in (os.O_RDONLY, os.O_RDWR),
            writable=access in (os.O_WRONLY, os.O_RDWR),
            append=bool(flags & os.O_APPEND),
        )

    def read_with(self, content: ContentRef, make: Callable[[ContentRef], Reader]) -> Reader:
        """The reader of that content; what was fetched of another is let go."""
        if self.reader is None or self.reading != content:
            if self.reader is not None:
                self.reader.close()
            self.reader, self.reading = make(content), content
        return self.reader


@dataclass(slots=True, eq=False)
class FolderHandle:
    """The rows as they were when the folder was opened (or rewound)."""

    node: Node
    rows: tuple[Row, ...]


class Handles:
    def __init__(self) -> None:
        self._open: dict[Handle, FileHandle | FolderHandle] = {}
        self._last = 0

    def add(self, handle: FileHandle | FolderHandle) -> Handle:
        self._last += 1
        number = Handle(self._last)
        self._open[number] = handle
        if isinstance(handle, FileHandle):
            handle.node.writers += handle.writable
        handle.node.openers += 1
        return number

    def file(self, number: Handle) -> FileHandle:
        found = self._open.get(number)
        if isinstance(found, FileHandle):
            return found
        raise Stale(f"handle {number} is not an open file") if found is None else BadHandle("a folder was given")

    def folder(self, number: Handle) -> FolderHandle:
        found = self._open.get(number)
        if isinstance(found, FolderHandle):
            return found
        raise Stale(f"handle {number} is not an open folder") if found is None else BadHandle("a file was given")

    def release(self, number: Handle) -> FileHandle | FolderHandle:
        handle = self._open.pop(number)
        if isinstance(handle, FileHandle):
            handle.node.writers -= handle.writable
            if handle.reader is not None:
                handle.reader.close()
        handle.node.openers -= 1
        return handle

    def files(self) -> list[FileHandle]:
        return [handle for handle in self._open.values() if isinstance(handle, FileHandle)]

    def __len__(self) -> int:
        return len(self._open)
