"""The kernel's requests: each is one call of the core, and one reply or one errno. Nothing is decided here.

Who uses: `session` gives it to pyfuse3. State: the core and the guard. Every handler may wait, except those that only
translate.

A default of pyfuse3 answers ENOSYS, which the kernel remembers for the rest of the mount: for flush, fsync and fsyncdir
as success. So every request stands here, and what the drive cannot do is refused by name.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyfuse3

from bitcasafs.errors import TooLarge
from bitcasafs.fuse.guard import Guard
from bitcasafs.fuse.translation import (
    of_absent,
    of_entry,
    of_opened,
    of_space,
    to_attribute,
    to_caller,
    to_name,
    to_target,
    to_wanted,
)
from bitcasafs.vfs.entry import Absent, Handle
from bitcasafs.vfs.filesystem import FileSystem

if TYPE_CHECKING:
    from pyfuse3 import EntryAttributes, FileInfo, ReaddirToken, RequestContext, SetattrFields, StatvfsData

OWN_ATTRIBUTES = b"user.bitcasafs."
_USER_ATTRIBUTES = b"user."


class KernelOperations(pyfuse3.Operations):
    """Translation only; total: whatever the core raises leaves as an errno."""

    # Lookups of "." and ".." come only from NFS export, which this is not made for.
    supports_dot_lookup = False
    # The kernel would own sizes and times while pages are dirty, and would hide what other machines change.
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, core: FileSystem, guard: Guard) -> None:
        super().__init__()
        self._core = core
        self._guard = guard

    # --- names ----------------------------------------------------------------------------------------------------

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        with self._guard.on("lookup"):
            found = await self._core.names.lookup(parent_inode, to_name(name))
            return of_absent(found) if isinstance(found, Absent) else of_entry(found)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        try:
            self._core.names.forget(inode_list)
        except Exception as error:  # noqa: BLE001 - nobody waits for an answer, and pyfuse3 takes no errno here
            self._guard.errno_of("forget", error)

    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        with self._guard.on("mkdir"):
            made = await self._core.names.mkdir(parent_inode, to_name(name), stat.S_IMODE(mode), to_caller(ctx))
            return of_entry(made)

    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        with self._guard.on("symlink"):
            made = await self._core.names.symlink(parent_inode, to_name(name), to_target(target), to_caller(ctx))
            return of_entry(made)

    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        with self._guard.on("readlink"):
            return (await self._core.names.readlink(inode)).encode("utf-8")

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        with self._guard.on("create"):
            opened, entry = await self._core.names.create(
                parent_inode, to_name(name), stat.S_IMODE(mode), flags, to_caller(ctx)
            )
            return of_opened(opened), of_entry(entry)

    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        with self._guard.on("unlink"):
            await self._core.names.unlink(parent_inode, to_name(name))

    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        with self._guard.on("rmdir"):
            await self._core.names.rmdir(parent_inode, to_name(name))

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        with self._guard.on("rename"):
            await self._core.names.rename(
                parent_inode_old, to_name(name_old), parent_inode_new, to_name(name_new), flags
            )

    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        raise pyfuse3.FUSEError(errno.EPERM)  # link(2)'s word for a file system without hard links

    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        raise pyfuse3.FUSEError(errno.EPERM if is_device else errno.EOPNOTSUPP)

    # --- files ----------------------------------------------------------------------------------------------------

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        with self._guard.on("open"):
            return of_opened(await self._core.files.open(inode, flags))

    async def read(self, fh: int, off: int, size: int) -> bytes:
        with self._guard.on("read"):
            return await self._core.files.read(Handle(fh), off, size)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        with self._guard.on("write"):
            return await self._core.files.write(Handle(fh), off, buf)

    async def flush(self, fh: int) -> None:
        with self._guard.on("flush"):
            await self._core.files.flush(Handle(fh))

    async def fsync(self, fh: int, datasync: bool) -> None:
        with self._guard.on("fsync"):
            await self._core.files.fsync(Handle(fh), datasync)

    async def release(self, fh: int) -> None:
        with self._guard.on("release"):
            await self._core.files.release(Handle(fh))

    # --- folders --------------------------------------------------------------------------------------------------

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        with self._guard.on("opendir"):
            return await self._core.folders.open(inode)

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        with self._guard.on("readdir"):
            for row in self._core.folders.rows(Handle(fh), start_id):
                if not pyfuse3.readdir_reply(token, row.name.encode("utf-8"), of_entry(row.entry), row.cookie):
                    return
                self._core.folders.handed_over(row)

    async def releasedir(self, fh: int) -> None:
        with self._guard.on("releasedir"):
            self._core.folders.release(Handle(fh))

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        with self._guard.on("fsyncdir"):
            await self._core.folders.fsync(Handle(fh), datasync)

    # --- attributes -----------------------------------------------------------------------------------------------

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        with self._guard.on("getattr"):
            return of_entry(await self._core.attributes.get(inode))

    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        with self._guard.on("setattr"):
            handle = None if fh is None else Handle(fh)
            return of_entry(await self._core.attributes.set(inode, to_wanted(attr, fields), handle))

    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        return True  # with default_permissions the kernel decides by the mode and never asks

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        with self._guard.on("statfs"):
            return of_space(await self._core.attributes.space())

    # --- extended attributes --------------------------------------------------------------------------------------

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        # security.capability is asked for before every single write: no more than this comparison is spent on it.
        if not name.startswith(_USER_ATTRIBUTES):
            raise pyfuse3.FUSEError(errno.ENODATA)
        with self._guard.on("getxattr"):
            return await self._core.attributes.get_xattr(inode, to_attribute(name, errno.ENODATA))

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        with self._guard.on("listxattr"):
            return [name.encode("utf-8") for name in await self._core.attributes.list_xattrs(inode)]

    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        # XATTR_CREATE and XATTR_REPLACE end in pyfuse3, which asks getxattr before it comes here.
        if name.startswith(OWN_ATTRIBUTES):
            raise pyfuse3.FUSEError(errno.EPERM)
        if not name.startswith(_USER_ATTRIBUTES):
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)
        with self._guard.on("setxattr"):
            try:
                await self._core.attributes.set_xattr(inode, to_attribute(name, errno.EILSEQ), value, 0)
            except TooLarge:  # of a file it is EFBIG; of an attribute, what the kernel itself says
                raise pyfuse3.FUSEError(errno.E2BIG) from None

    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        if name.startswith(OWN_ATTRIBUTES):
            raise pyfuse3.FUSEError(errno.EPERM)
        # cp -a removes a folder's default ACL and takes only ENODATA for "was not there".
        if not name.startswith(_USER_ATTRIBUTES):
            raise pyfuse3.FUSEError(errno.ENODATA)
        with self._guard.on("removexattr"):
            await self._core.attributes.remove_xattr(inode, to_attribute(name, errno.ENODATA))


class OperationsWithoutXattrs(KernelOperations):
    """`-o noxattr`. The kernel remembers ENOSYS, stops asking, and tells applications EOPNOTSUPP."""

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        raise pyfuse3.FUSEError(errno.ENOSYS)

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        raise pyfuse3.FUSEError(errno.ENOSYS)

    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)

    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)
