"""The floor: the least that a pyfuse3 file system can be, for benches to compare with.

Everything is in memory (or, with --backing, content in files of a folder), nothing is journaled, checked or sent; what
a real mount takes longer than this is its own doing. Run: `python -m tests.support.floor MOUNTPOINT [--backing
FOLDER] [--filled FOLDER]`; says `mounted` when it is; SIGTERM and SIGINT unmount.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pyfuse3
import trio

from tests.support.floor_tree import FloorTree

TIMEOUT_SECONDS = 60.0
"""For entries and attributes alike: nobody else changes this tree, so the kernel may keep what it knows."""


class Floor(pyfuse3.Operations):
    """Translation between the kernel and a `FloorTree`; no call waits for anything."""

    supports_dot_lookup = True
    enable_writeback_cache = False

    def __init__(self, tree: FloorTree) -> None:
        super().__init__()
        self._tree = tree

    def _attributes(self, number: int) -> pyfuse3.EntryAttributes:
        node = self._tree.node(number)
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(number)
        entry.generation = 0
        entry.entry_timeout = entry.attr_timeout = TIMEOUT_SECONDS
        entry.st_mode = pyfuse3.ModeT(node.mode)
        entry.st_nlink = 1
        entry.st_uid, entry.st_gid = node.uid, node.gid
        entry.st_size = self._tree.size_bytes(node)
        entry.st_blksize = 4096
        entry.st_blocks = (entry.st_size + 511) // 512
        entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns = node.atime_ns, node.mtime_ns, node.ctime_ns
        return entry

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        number = self._tree.find(parent_inode, name)
        if number is None:
            # A name that is not there may be remembered too: inode 0 with a time-out.
            absent = pyfuse3.EntryAttributes()
            absent.st_ino = pyfuse3.InodeT(0)
            absent.entry_timeout = TIMEOUT_SECONDS
            return absent
        self._tree.node(number).lookups += 1
        return self._attributes(number)

    async def forget(self, inode_list: object) -> None:
        for number, lookups in inode_list:  # type: ignore[attr-defined]
            self._tree.forget(number, lookups)

    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._attributes(inode)

    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self._tree.node(inode)
        if fields.update_size:
            self._tree.truncate(node, attr.st_size)
        if fields.update_mode:
            node.mode = attr.st_mode
        if fields.update_uid:
            node.uid = attr.st_uid
        if fields.update_gid:
            node.gid = attr.st_gid
        if fields.update_atime:
            node.atime_ns = attr.st_atime_ns
        if fields.update_mtime:
            node.mtime_ns = attr.st_mtime_ns
        return self._attributes(inode)

    def _made(
        self,
        parent: int,
        name: bytes,
        mode: int,
        ctx: pyfuse3.RequestContext,
        symlink: bytes | None = None,
    ) -> pyfuse3.EntryAttributes:
        number = self._tree.make(parent, name, mode, ctx.uid, ctx.gid, symlink)
        self._tree.node(number).lookups += 1
        return self._attributes(number)

    async def mkdir(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        return self._made(parent_inode, name, 0o040000 | (mode & ~ctx.umask), ctx)

    async def symlink(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        target: pyfuse3.FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        return self._made(parent_inode, name, 0o120777, ctx, bytes(target))

    async def readlink(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileNameT:
        return pyfuse3.FileNameT(self._tree.node(inode).symlink or b"")

    async def unlink(self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext) -> None:
        self._tree.remove(parent_inode, name)

    async def rmdir(self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext) -> None:
        self._tree.remove(parent_inode, name)

    async def rename(
        self,
        parent_inode_old: pyfuse3.InodeT,
        name_old: pyfuse3.FileNameT,
        parent_inode_new: pyfuse3.InodeT,
        name_new: pyfuse3.FileNameT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        self._tree.rename(parent_inode_old, name_old, parent_inode_new, name_new, int(flags))

    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        for number, name in self._tree.entries(fh, start_id):
            if not pyfuse3.readdir_reply(token, pyfuse3.FileNameT(name), self._attributes(number), number):
                return
            self._tree.node(number).lookups += 1

    async def open(self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        node = self._tree.node(inode)
        if flags & os.O_TRUNC:
            self._tree.truncate(node, 0)
        node.handles += 1
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    async def create(
        self,
        parent_inode: pyfuse3.InodeT,
        name: pyfuse3.FileNameT,
        mode: pyfuse3.ModeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        entry = self._made(parent_inode, name, 0o100000 | (mode & ~ctx.umask & 0o7777), ctx)
        return await self.open(entry.st_ino, flags, ctx), entry

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        return self._tree.read(self._tree.node(fh), off, size)

    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        return self._tree.write(self._tree.node(fh), off, buf)

    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        pass

    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        pass

    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        pass

    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        self._tree.release(fh)

    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        pass

    async def getxattr(self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext) -> bytes:
        raise pyfuse3.FUSEError(pyfuse3.ENOATTR)

    async def listxattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> list[pyfuse3.XAttrNameT]:
        return []

    async def removexattr(self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext) -> None:
        raise pyfuse3.FUSEError(pyfuse3.ENOATTR)

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        room = shutil.disk_usage(tempfile.gettempdir())
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = 4096
        answer.f_blocks = room.total // 4096
        answer.f_bfree = answer.f_bavail = room.free // 4096
        answer.f_files = answer.f_ffree = answer.f_favail = 1_000_000
        answer.f_namemax = 255
        return answer


def fill(tree: FloorTree, parent: int, source: Path) -> None:
    """Files and folders as `source` has them: a tree that the kernel does not know yet, to measure reading it."""
    for path in sorted(source.iterdir()):
        told = path.stat()
        number = tree.make(parent, os.fsencode(path.name), told.st_mode, told.st_uid, told.st_gid)
        if path.is_dir():
            fill(tree, number, path)
        else:
            node = tree.node(number)
            with path.open("rb") as content:
                while piece := content.read(1024 * 1024):
                    tree.write(node, tree.size_bytes(node), piece)


async def _until_signalled() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            pyfuse3.terminate()
            return


async def _run(mountpoint: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_signalled)
        sys.stdout.write("mounted\n")
        sys.stdout.flush()
        await pyfuse3.main(max_tasks=4096)
        nursery.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="A bare in-memory file system, to measure against.")
    parser.add_argument("mountpoint")
    parser.add_argument("--backing", metavar="FOLDER", help="keep content in files here (a tmpfs) instead of in memory")
    parser.add_argument("--filled", metavar="FOLDER", type=Path, help="begin with the files and folders that are here")
    arguments = parser.parse_args()
    options = {*pyfuse3.default_options, "fsname=floor", "subtype=floor"}
    options.discard("default_permissions")
    with FloorTree(Path(arguments.backing) if arguments.backing else None) as tree:
        if arguments.filled is not None:
            fill(tree, pyfuse3.ROOT_INODE, arguments.filled)
        pyfuse3.init(Floor(tree), arguments.mountpoint, options)
        try:
            trio.run(_run, arguments.mountpoint)
        finally:
            pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
