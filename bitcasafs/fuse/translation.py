"""Between the kernel's shapes and ours: names, attributes, what is to be set. Pure; errors leave as errno or our kinds.

Every time-out and flag is set at every answer: pyfuse3's own defaults are 300 seconds and pages kept for ever.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pyfuse3

from bitcasafs.dialects.names import NAME_BYTES, check_name
from bitcasafs.errors import NameNotUtf8
from bitcasafs.vfs.entry import Absent, Caller, Entry, Opened, Space, Wanted

if TYPE_CHECKING:
    from pyfuse3 import EntryAttributes, FileInfo, RequestContext, SetattrFields, StatvfsData

BLOCK_BYTES = 128 * 1024
"""st_blksize: the kernel reads ahead 128 KiB by default, and pyfuse3 cannot raise it, so a program's buffer of that
size is one request."""

SECTOR_BYTES = 512
_SPACE_BLOCK_BYTES = 4096
_PERMISSIONS = 0o7777
_TARGET_BYTES = 4095
_FREE_FILES = 2**32
"""What df -i shows as left: the portal has no limit, and 0 would say that nothing more fits."""


def to_name(raw: bytes) -> str:
    """The kernel's name as text. ENAMETOOLONG, NameNotUtf8, NameInvalid."""
    if len(raw) > NAME_BYTES:
        raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
    return check_name(raw)


def to_target(raw: bytes) -> str:
    """Where a new symbolic link leads. ENAMETOOLONG, NameNotUtf8."""
    if len(raw) > _TARGET_BYTES:
        raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NameNotUtf8(f"the link target {raw!r} is not UTF-8") from None


def to_attribute(raw: bytes, otherwise: int) -> str:
    """An extended attribute's name as text; `otherwise` is the errno for one that is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise pyfuse3.FUSEError(otherwise) from None


def to_caller(context: RequestContext) -> Caller:
    return Caller(uid=context.uid, gid=context.gid, pid=context.pid)


def to_wanted(attributes: EntryAttributes, fields: SetattrFields) -> Wanted:
    """The fields that the kernel marked. The change time is ours to set."""
    return Wanted(
        size_bytes=attributes.st_size if fields.update_size else None,
        permissions=attributes.st_mode & _PERMISSIONS if fields.update_mode else None,
        uid=attributes.st_uid if fields.update_uid else None,
        gid=attributes.st_gid if fields.update_gid else None,
        atime_ns=attributes.st_atime_ns if fields.update_atime else None,
        mtime_ns=attributes.st_mtime_ns if fields.update_mtime else None,
    )


def of_entry(entry: Entry) -> EntryAttributes:
    answer = pyfuse3.EntryAttributes()
    answer.st_ino = entry.number
    answer.generation = 0
    answer.entry_timeout = entry.entry_timeout_seconds
    answer.attr_timeout = entry.attr_timeout_seconds
    answer.st_mode = entry.mode
    answer.st_nlink = entry.nlink
    answer.st_uid = entry.uid
    answer.st_gid = entry.gid
    answer.st_size = entry.size_bytes
    answer.st_blksize = BLOCK_BYTES
    answer.st_blocks = -(-entry.size_bytes // SECTOR_BYTES)
    answer.st_atime_ns = entry.atime_ns
    answer.st_mtime_ns = entry.mtime_ns
    answer.st_ctime_ns = entry.ctime_ns
    return answer


def of_absent(absent: Absent) -> EntryAttributes:
    """A name that is not there. With a time-out the kernel remembers it (inode 0); without, it is a plain ENOENT."""
    if absent.entry_timeout_seconds <= 0:
        raise pyfuse3.FUSEError(errno.ENOENT)
    answer = pyfuse3.EntryAttributes()
    answer.st_ino = 0
    answer.entry_timeout = absent.entry_timeout_seconds
    answer.attr_timeout = 0
    return answer


def of_opened(opened: Opened) -> FileInfo:
    return pyfuse3.FileInfo(fh=opened.handle, direct_io=False, keep_cache=opened.keep_pages, nonseekable=False)


def of_space(space: Space) -> StatvfsData:
    answer = pyfuse3.StatvfsData()
    answer.f_bsize = answer.f_frsize = _SPACE_BLOCK_BYTES
    answer.f_blocks = space.total_bytes // _SPACE_BLOCK_BYTES
    answer.f_bfree = answer.f_bavail = space.free_bytes // _SPACE_BLOCK_BYTES
    answer.f_files = space.files + _FREE_FILES
    answer.f_ffree = answer.f_favail = _FREE_FILES
    answer.f_namemax = space.name_bytes
    return answer
