"""A drive as a dict: what one mount does, without a portal. Raises what the vfs must raise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from bitcasafs import errors


@dataclass
class DriveModel:
    """Paths lead to the bytes of files, `-> target` of links, None of folders."""

    tree: dict[str, bytes | None] = field(default_factory=dict)

    def parent(self, path: str) -> None:
        for folder in [str(folder) for folder in reversed(PurePosixPath(path).parents)][1:]:
            if folder not in self.tree:
                raise errors.NotFound
            if self.tree[folder] is not None:
                raise errors.NotFolder

    def there(self, path: str) -> bytes | None:
        self.parent(path)
        if path not in self.tree:
            raise errors.NotFound
        return self.tree[path]

    def file(self, path: str) -> bytes:
        found = self.there(path)
        if found is None:
            raise errors.IsFolder
        return found

    def below(self, path: str) -> list[str]:
        return [other for other in self.tree if other.startswith(path + "/")]

    def write(self, path: str, data: bytes) -> None:
        self.parent(path)
        if path in self.tree and self.tree[path] is None:
            raise errors.IsFolder
        self.tree[path] = data

    def patch(self, path: str, offset: int, data: bytes) -> None:
        found = self.file(path)
        if data:
            found = found.ljust(offset, b"\0")
            self.tree[path] = found[:offset] + data + found[offset + len(data) :]

    def append(self, path: str, data: bytes) -> None:
        self.tree[path] = self.file(path) + data

    def truncate(self, path: str, size: int) -> None:
        self.tree[path] = self.file(path)[:size].ljust(size, b"\0")

    def mkdir(self, path: str) -> None:
        self.parent(path)
        if path in self.tree:
            raise errors.Exists
        self.tree[path] = None

    def unlink(self, path: str) -> None:
        self.file(path)
        del self.tree[path]

    def rmdir(self, path: str) -> None:
        if self.there(path) is not None:
            raise errors.NotFolder
        if self.below(path):
            raise errors.NotEmpty
        del self.tree[path]

    def rename(self, old: str, new: str) -> None:
        self.parent(old)
        self.parent(new)
        self.there(old)
        if old == new:
            return
        if new.startswith(old + "/"):
            raise errors.Loop
        if new in self.tree:
            if self.tree[old] is None:
                if self.tree[new] is not None:
                    raise errors.NotFolder
                if self.below(new):
                    raise errors.NotEmpty
            elif self.tree[new] is None:
                raise errors.IsFolder
            del self.tree[new]
        for path in [old, *self.below(old)]:
            self.tree[new + path.removeprefix(old)] = self.tree.pop(path)

    def read(self, path: str) -> bytes:
        return self.file(path)

    def symlink(self, path: str, target: str) -> None:
        self.parent(path)
        if path in self.tree:
            raise errors.Exists
        self.tree[path] = b"-> " + target.encode()

    def exchange(self, old: str, new: str) -> None:
        self.parent(old)
        self.parent(new)
        self.there(old)
        self.there(new)
        if old == new:
            return
        if new.startswith(old + "/") or old.startswith(new + "/"):
            raise errors.Loop
        moved = {path: self.tree.pop(path) for path in [old, *self.below(old)]}
        for path in [new, *self.below(new)]:
            self.tree[old + path.removeprefix(new)] = self.tree.pop(path)
        for path, data in moved.items():
            self.tree[new + path.removeprefix(old)] = data
