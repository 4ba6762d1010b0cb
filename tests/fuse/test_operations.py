"""The kernel's requests through a real mount over the real core, and a remote in memory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from bitcasafs.errors import Unsupported
from bitcasafs.fuse.session import MAX_TASKS
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.kernel_mount import Refusing, drive, errno_of, mounted_core, run
from tests.support.machine import machine


async def test_a_file_is_made_written_read_and_removed(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        file = root / "letter.txt"
        file.write_bytes(b"dear reader")
        assert file.read_bytes() == b"dear reader"
        with file.open("ab") as more:
            more.write(b", hello")
        assert file.read_bytes() == b"dear reader, hello"
        os.truncate(file, 4)
        assert file.read_bytes() == b"dear"
        file.unlink()
        assert os.listdir(root) == []

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


async def test_mode_times_and_size_are_set_and_told(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        file = root / "script"
        file.write_bytes(b"#!")
        file.chmod(0o751)
        os.utime(file, ns=(1_600_000_000_123_456_789, -5_000_000_001))
        told = file.stat()
        assert stat.S_IMODE(told.st_mode) == 0o751
        assert (told.st_atime_ns, told.st_mtime_ns) == (1_600_000_000_123_456_789, -5_000_000_001)
        assert told.st_size == 2
        with file.open("r+b") as opened:
            os.ftruncate(opened.fileno(), 100_000)
            assert os.fstat(opened.fileno()).st_size == 100_000

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


async def test_folders_links_and_renames(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / "c").write_bytes(b"c")
        os.symlink("../a/b", root / "a" / "way")
        assert os.readlink(root / "a" / "way") == "../a/b"
        assert (root / "a" / "way" / "c").read_bytes() == b"c"
        os.rename(root / "a" / "b", root / "moved")
        assert sorted(os.listdir(root)) == ["a", "moved"]
        (root / "other").write_bytes(b"other")
        os.rename(root / "other", root / "moved" / "c")
        assert (root / "moved" / "c").read_bytes() == b"other"
        assert errno_of(os.rmdir, root / "moved") == errno.ENOTEMPTY
        assert errno_of(os.mkdir, root / "a") == errno.EEXIST
        assert errno_of(os.rename, root / "a", root / "a" / "inside") == errno.EINVAL
        assert errno_of(os.unlink, root / "nothing") == errno.ENOENT
        (root / "moved" / "c").unlink()
        (root / "moved").rmdir()

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


async def test_a_folder_longer_than_one_answer_is_listed_once_and_whole(tmp_path: Path) -> None:
    names = {f"file {number:04}" for number in range(700)}

    def work(root: Path) -> None:
        for name in names:
            (root / name).touch()
        listed = os.listdir(root)
        assert len(listed) == len(names)
        assert set(listed) == names

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


async def test_what_the_drive_cannot_do_is_refused_by_name(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        file = root / "file"
        file.touch()
        assert errno_of(os.link, file, root / "second") == errno.EPERM
        assert errno_of(os.mkfifo, root / "fifo") == errno.EOPNOTSUPP
        assert errno_of(os.mknod, root / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3)) == errno.EPERM
        for name in ("security.selinux", "system.any", "trusted.any"):
            assert errno_of(os.setxattr, file, name, b"any") == errno.EOPNOTSUPP

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (b"\xff\xfe", errno.EILSEQ),
        (b"x" * 256, errno.ENAMETOOLONG),
        ("ä" * 128, errno.ENAMETOOLONG),
        (b"x" * 255, None),
        ("\n\t 'quoted' \\ ☃", None),
    ],
)
async def test_names_are_utf8_of_at_most_255_bytes(tmp_path: Path, name: bytes | str, number: int | None) -> None:
    async with drive(tmp_path) as mounted:
        path = os.path.join(os.fsencode(mounted.path), os.fsencode(name))
        assert await mounted.call(errno_of, os.mkdir, path) == number
        if number is None:
            assert await mounted.call(os.listdir, os.fsencode(mounted.path)) == [os.fsencode(name)]


async def test_a_link_target_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    async with drive(tmp_path) as mounted:
        path = os.fsencode(mounted.path) + b"/link"
        assert await mounted.call(errno_of, os.symlink, b"\xff", path) == errno.EILSEQ


async def test_fsync_of_files_and_folders_works(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        with (root / "file").open("wb") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
            os.fdatasync(file.fileno())
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


async def test_df_tells_of_space_and_files(tmp_path: Path) -> None:
    async with drive(tmp_path) as mounted:
        told = await mounted.call(os.statvfs, mounted.path)
        assert told.f_frsize * told.f_blocks > 0
        assert 0 < told.f_bavail <= told.f_blocks
        assert told.f_ffree > 0
        assert told.f_namemax == 255


async def test_cp_a_and_diff_find_a_tree_equal(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "deeper").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "deep" / "empty file").touch()
    (source / "deep" / "deeper" / "data").write_bytes(os.urandom(300_000))
    (source / "deep" / "script").write_bytes(b"#!/bin/sh\n")
    (source / "deep" / "script").chmod(0o755)
    os.symlink("deeper/data", source / "deep" / "link")
    os.symlink("/nowhere", source / "dangling")
    async with drive(tmp_path) as mounted:
        copied = await run("cp", "-a", source, mounted.path)
        assert (copied.returncode, copied.stderr) == (0, b"")
        compared = await run("diff", "-r", "--no-dereference", source, mounted.path / "source")
        assert (compared.returncode, compared.stdout) == (0, b"")
        script = await mounted.call(os.stat, mounted.path / "source" / "deep" / "script")
        assert stat.S_IMODE(script.st_mode) == 0o755
        assert script.st_mtime_ns == (source / "deep" / "script").stat().st_mtime_ns


async def test_a_file_that_is_unlinked_while_open_lives_on(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        with (root / "temporary").open("w+b") as file:
            file.write(b"still here")
            file.flush()
            (root / "temporary").unlink()
            assert os.listdir(root) == []
            file.seek(0)
            assert file.read() == b"still here"
            file.write(b", and more")
            file.flush()
            assert os.fstat(file.fileno()).st_size == 20

    async with drive(tmp_path) as mounted:
        await mounted.call(work, mounted.path)


def test_many_requests_may_wait_at_once() -> None:
    assert MAX_TASKS == 4096


async def test_what_a_core_says_it_cannot_do_is_eopnotsupp(tmp_path: Path) -> None:
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    async with machine(MemoryRemote(MemoryDrive()), tmp_path / "state") as one:
        core = Refusing(one.fs, "names", "mkdir", Unsupported("no folders here"))
        async with mounted_core(core, mountpoint) as mounted:
            assert await mounted.call(errno_of, os.mkdir, mountpoint / "new") == errno.EOPNOTSUPP
