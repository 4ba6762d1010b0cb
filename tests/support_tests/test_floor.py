"""The floor is a real mount, and keeps what it is given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import is_mounted, running, says


@pytest.mark.parametrize("backed", [False, True], ids=["memory", "files"])
def test_a_tree_copied_in_is_the_same_and_the_mount_ends_in_order(backed: bool, tmp_path: Path) -> None:
    mountpoint, source, backing = (tmp_path / name for name in ("mnt", "source", "backing"))
    mountpoint.mkdir()
    make_tree(source)
    argv = [sys.executable, "-m", "tests.support.floor", str(mountpoint)]
    with running([*argv, "--backing", str(backing)] if backed else argv, ready=says("^mounted$")) as process:
        assert is_mounted(mountpoint)(process)
        subprocess.run(["cp", "-a", source, mountpoint / "copy"], check=True)
        subprocess.run(["diff", "-r", "--no-dereference", source, mountpoint / "copy"], check=True)
        assert metadata(mountpoint / "copy") == metadata(source)
        rewrite(mountpoint / "copy")
        rewrite(source)
        subprocess.run(["diff", "-r", "--no-dereference", source, mountpoint / "copy"], check=True)
        subprocess.run(["rm", "-r", mountpoint / "copy"], check=True)
        assert os.listdir(mountpoint) == []
        assert process.stop() == 0
        assert not is_mounted(mountpoint)(process)
    if backed:
        assert os.listdir(backing) == []


def test_a_filled_floor_begins_with_what_the_folder_has(tmp_path: Path) -> None:
    mountpoint, source = tmp_path / "mnt", tmp_path / "source"
    mountpoint.mkdir()
    make_tree(source)
    (source / "link").unlink()
    argv = [sys.executable, "-m", "tests.support.floor", str(mountpoint), "--filled", str(source)]
    with running(argv, ready=says("^mounted$")):
        subprocess.run(["diff", "-r", source, mountpoint], check=True)
        assert (mountpoint / "run").stat().st_mode == (source / "run").stat().st_mode
        (mountpoint / "new").write_text("x")
        assert not (source / "new").exists()


def make_tree(root: Path) -> None:
    (root / "folder" / "inner").mkdir(parents=True)
    for number in range(50):
        (root / "folder" / f"file {number}").write_bytes(bytes([number]) * number * 1000)
    (root / "folder" / "big").write_bytes(os.urandom(3_000_000))
    (root / "link").symlink_to("folder/big")
    (root / "ünïcode").write_text("x")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o750)
    os.utime(root / "run", ns=(1, 1_234_567_890_123_456_789))


def rewrite(root: Path) -> None:
    """What programs do besides copying."""
    folder = root / "folder"
    os.truncate(folder / "big", 1_000_001)
    os.truncate(folder / "file 1", 5000)
    (folder / "file 2").write_text("shorter")
    (folder / "file 3").rename(folder / "file 4")
    (folder / "file 5").rename(folder / "inner" / "moved")
    (folder / "file 6").unlink()
    with (root / "run").open("r+b") as handle:
        handle.seek(100)
        handle.write(b"after a hole")


def metadata(root: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and mtime by path; folders without their size."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        size = 0 if path.is_dir() else status.st_size
        found[str(path.relative_to(root))] = (status.st_mode, size, status.st_mtime_ns)
    return found
