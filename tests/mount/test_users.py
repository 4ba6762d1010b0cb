"""Which programs hold a mount: found in /proc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bitcasafs.mount.users import users_of

HOLDERS = {
    "an open file": ("file = open('held'); print(flush=True); input()", "held"),
    "a working folder": ("import os; os.chdir('inside'); print(flush=True); input()", "inside"),
    "a mapped file": (
        "import mmap; f = open('held', 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); f.close(); print(flush=1); input()",
        "held",
    ),
}


@pytest.mark.parametrize("what", HOLDERS)
def test_a_process_that_holds_something_is_found(tmp_path: Path, what: str) -> None:
    code, path = HOLDERS[what]
    mountpoint = tmp_path / "mnt"
    (mountpoint / "inside").mkdir(parents=True)
    (mountpoint / "held").write_bytes(b"x" * 5000)
    (tmp_path / "mnt beside").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.chdir({str(mountpoint)!r}); " + code],
        cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        [user] = users_of(mountpoint)
        assert user.pid == holder.pid
        assert user.path.startswith(str(mountpoint))
        assert user.program.startswith("python")
        assert users_of(tmp_path / "mnt beside") == []
    finally:
        holder.communicate(b"\n", timeout=10)
    assert users_of(mountpoint) == []
    assert (mountpoint / path).exists()


def test_a_made_up_process_table_is_read(tmp_path: Path) -> None:
    process = tmp_path / "proc" / "77"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text("editor\n")
    (process / "maps").write_text("7f00-7f01 r--p 00000000 00:2d 9 /mnt/with space/library.so\n")
    [user] = users_of(Path("/mnt/with space"), tmp_path / "proc")
    assert (user.pid, user.program, user.path) == (77, "editor", "/mnt/with space/library.so")
