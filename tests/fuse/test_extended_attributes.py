"""Extended attributes through a real mount: kept, refused by name, and left alone where the user wants it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from bitcasafs.errors import TooLarge
from bitcasafs.fuse.operations import KernelOperations, OperationsWithoutXattrs
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.kernel_mount import Refusing, drive, errno_of, mounted_core, run
from tests.support.machine import machine
from tests.support.mounted import home


@pytest.mark.allow_log("setxattr: the attributes of a file hold at most")
async def test_extended_attributes_are_kept_changed_and_removed(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        file = root / "file"
        file.write_bytes(b"x")
        os.setxattr(file, "user.colour", b"red\x00\xff")
        assert os.listxattr(file) == ["user.colour"]
        assert os.getxattr(file, "user.colour") == b"red\x00\xff"
        assert errno_of(os.setxattr, file, "user.colour", b"blue", os.XATTR_CREATE) == errno.EEXIST
        os.setxattr(file, "user.colour", b"blue", os.XATTR_REPLACE)
        assert errno_of(os.setxattr, file, "user.shape", b"round", os.XATTR_REPLACE) == errno.ENODATA
        os.setxattr(file, "user.empty", b"", os.XATTR_CREATE)
        assert sorted(os.listxattr(file)) == ["user.colour", "user.empty"]
        assert errno_of(os.setxattr, file, "user.large", bytes(1 << 16)) == errno.ENOSPC
        assert errno_of(os.setxattr, os.fsencode(file), b"user.\xff", b"x") == errno.EILSEQ
        os.removexattr(file, "user.colour")
        assert (os.listxattr(file), os.getxattr(file, "user.empty")) == (["user.empty"], b"")
        assert errno_of(os.removexattr, file, "user.colour") == errno.ENODATA
        os.setxattr(root, "user.of a folder", b"yes")
        assert os.getxattr(root, "user.of a folder") == b"yes"

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


async def test_extended_attributes_that_are_not_there(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        file = root / "file"
        file.touch()
        for name in ("security.capability", "system.posix_acl_access", "trusted.any", "user.colour"):
            assert errno_of(os.getxattr, file, name) == errno.ENODATA
        assert errno_of(os.removexattr, file, "user.colour") == errno.ENODATA
        assert errno_of(os.setxattr, file, "user.bitcasafs.state", b"x") == errno.EPERM
        assert errno_of(os.removexattr, file, "user.bitcasafs.state") == errno.EPERM
        assert os.listxattr(file) == []
        assert os.getxattr(file, "user.bitcasafs.state")

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


async def test_an_attribute_that_the_portal_finds_too_large_is_e2big(tmp_path: Path) -> None:
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    async with machine(MemoryRemote(MemoryDrive()), tmp_path / "state") as one:
        core = Refusing(one.fs, "attributes", "set_xattr", TooLarge("the portal keeps less"))
        async with mounted_core(core, mountpoint) as mounted:
            assert await mounted.call(errno_of, os.setxattr, mountpoint, "user.any", b"x") == errno.E2BIG


class CountingWithout(OperationsWithoutXattrs):
    requests = 0

    async def getxattr(self, *arguments: Any) -> bytes:
        type(self).requests += 1
        return await super().getxattr(*arguments)


class Counting(KernelOperations):
    requests = 0

    async def getxattr(self, *arguments: Any) -> bytes:
        type(self).requests += 1
        return await super().getxattr(*arguments)


@pytest.mark.parametrize("make", [Counting, CountingWithout])
async def test_noxattr_spares_the_requests_for_attributes(
    tmp_path: Path, make: type[Counting | CountingWithout]
) -> None:
    def work(root: Path) -> None:
        with (root / "file").open("wb", buffering=0) as file:
            for _ in range(50):
                file.write(b"x")

    make.requests = 0
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    async with (
        machine(MemoryRemote(MemoryDrive()), tmp_path / "state") as one,
        mounted_core(one.fs, mountpoint, make) as mounted,
    ):
        await mounted.call(work, mountpoint)
        if make is Counting:
            assert make.requests >= 50
            return
        assert make.requests == 1
        file = mountpoint / "file"
        for call in (
            lambda: os.getxattr(file, "user.any"),
            lambda: os.setxattr(file, "user.any", b"x"),
            lambda: os.removexattr(file, "user.any"),
            lambda: os.listxattr(file),
        ):
            assert await mounted.call(errno_of, call) == errno.EOPNOTSUPP
        assert make.requests == 1
        copied = await run("cp", "-a", file, mountpoint / "copy")
        assert (copied.returncode, copied.stderr) == (0, b"")


def test_the_option_reaches_the_kernel() -> None:
    with home() as place:
        place.mount("-o", "noxattr")
        file = place.mountpoint / "file"
        file.touch()
        assert errno_of(os.setxattr, file, "user.any", b"x") == errno.EOPNOTSUPP
        assert errno_of(os.getxattr, file, "user.bitcasafs.state") == errno.EOPNOTSUPP
        assert place.umount().returncode == 0
