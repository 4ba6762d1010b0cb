"""The tree behind `floor`: numbers to nodes, names to numbers, content in bytearrays or in backing files.

Raises pyfuse3.FUSEError, for it has no other user. One thread, nothing waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pyfuse3

OPEN_BACKINGS = 512
"""Backing files held open at once: under the usual limit of 1,024, and more than a tree copier opens."""


@dataclass(slots=True)
class Node:
    number: int
    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    symlink: bytes | None = None
    children: dict[bytes, int] | None = None
    content: bytearray = field(default_factory=bytearray)
    links: int = 1
    lookups: int = 0
    handles: int = 0


class FloorTree:
    """`backing` None: content in memory; else in files of that folder, which are removed at the end."""

    def __init__(self, backing: Path | None) -> None:
        self._backing = backing
        self._open_files: dict[int, int] = {}
        """Number to descriptor, oldest first."""
        now = time.time_ns()
        root = Node(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), now, now, now, children={})
        self._nodes = {root.number: root}
        self._last_number = root.number

    def __enter__(self) -> Self:
        if self._backing is not None:
            self._backing.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in list(self._nodes):
            self._drop_content(number)

    def node(self, number: int) -> Node:
        try:
            return self._nodes[number]
        except KeyError:
            raise pyfuse3.FUSEError(errno.ESTALE) from None

    def _children(self, number: int) -> dict[bytes, int]:
        children = self.node(number).children
        if children is None:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        return children

    def find(self, parent: int, name: bytes) -> int | None:
        if name in (b".", b".."):
            return parent  # asked only by an NFS server
        return self._children(parent).get(name)

    def entries(self, folder: int, after: int) -> Iterator[tuple[int, bytes]]:
        """(number, name) of those with a number above `after`, by number: a number is a stable cookie."""
        ordered = sorted((number, name) for name, number in self._children(folder).items() if number > after)
        return iter(ordered)

    def make(self, parent: int, name: bytes, mode: int, uid: int, gid: int, symlink: bytes | None = None) -> int:
        children = self._children(parent)
        if name in children:
            raise pyfuse3.FUSEError(errno.EEXIST)
        if len(name) > 255:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        self._last_number = number = self._last_number + 1
        now = time.time_ns()
        made = Node(number, mode, uid, gid, now, now, now, symlink, {} if stat.S_ISDIR(mode) else None)
        self._nodes[number] = made
        children[bytes(name)] = number
        return number

    def remove(self, parent: int, name: bytes) -> None:
        children = self._children(parent)
        number = children.get(name)
        if number is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        if self.node(number).children:
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        del children[name]
        self._unlinked(number)

    def rename(self, old_parent: int, old_name: bytes, new_parent: int, new_name: bytes, flags: int) -> None:
        source, target = self._children(old_parent), self._children(new_parent)
        number, replaced = source[old_name], target.get(new_name)
        if flags & int(pyfuse3.RENAME_EXCHANGE):
            if replaced is None:
                raise pyfuse3.FUSEError(errno.ENOENT)
            source[old_name], target[new_name] = replaced, number
            return
        if replaced is not None:
            if flags & int(pyfuse3.RENAME_NOREPLACE):
                raise pyfuse3.FUSEError(errno.EEXIST)
            self.remove(new_parent, new_name)
        del source[old_name]
        target[bytes(new_name)] = number

    def forget(self, number: int, lookups: int) -> None:
        self.node(number).lookups -= lookups
        self._drop_unused(number)

    def release(self, number: int) -> None:
        self.node(number).handles -= 1
        self._drop_unused(number)

    def _unlinked(self, number: int) -> None:
        self.node(number).links = 0
        self._drop_unused(number)

    def _drop_unused(self, number: int) -> None:
        node = self.node(number)
        if not (node.links or node.lookups > 0 or node.handles):
            self._drop_content(number)
            del self._nodes[number]

    # --- content --------------------------------------------------------------------------------------------------

    def _file(self, number: int) -> int:
        """The backing file's descriptor; the one opened longest ago is closed for it when there are many."""
        found = self._open_files.get(number)
        if found is None:
            assert self._backing is not None
            if len(self._open_files) >= OPEN_BACKINGS:
                oldest = next(iter(self._open_files))
                os.close(self._open_files.pop(oldest))
            found = os.open(self._backing / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open_files[number] = found
        return found

    def _drop_content(self, number: int) -> None:
        if self._backing is not None:
            descriptor = self._open_files.pop(number, None)
            if descriptor is not None:
                os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                (self._backing / str(number)).unlink()

    def size_bytes(self, node: Node) -> int:
        if node.symlink is not None:
            return len(node.symlink)
        if node.children is not None:
            return 0
        return len(node.content) if self._backing is None else os.fstat(self._file(node.number)).st_size

    def truncate(self, node: Node, size_bytes: int) -> None:
        if self._backing is not None:
            os.ftruncate(self._file(node.number), size_bytes)
        elif size_bytes < len(node.content):
            del node.content[size_bytes:]
        else:
            node.content.extend(bytes(size_bytes - len(node.content)))
        node.mtime_ns = time.time_ns()

    def read(self, node: Node, start: int, size_bytes: int) -> bytes:
        if self._backing is not None:
            return os.pread(self._file(node.number), size_bytes, start)
        with memoryview(node.content) as view:
            return bytes(view[start : start + size_bytes])

    def write(self, node: Node, start: int, data: bytes) -> int:
        node.mtime_ns = time.time_ns()
        if self._backing is not None:
            return os.pwrite(self._file(node.number), data, start)
        if start > len(node.content):
            node.content.extend(bytes(start - len(node.content)))
        node.content[start : start + len(data)] = data
        return len(data)
