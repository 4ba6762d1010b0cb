"""A person's first day: mount, copy a tree in, unmount, mount again, and find it the same; and what a bad day does."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounted import Home, end_process, home, wait_until
from tests.support.processes import ROOT, has_ended

MEBIBYTE = 1024 * 1024
ODD_NAMES = (
    "with space", "ünïcödé ☃ 日本語", "new\nline", "tab\there", "'quotes' \"double\"", "back\\slash", "-dash",
    ".hidden", "percent%20%2F", "question?hash#", "semi;colon&amp", "x" * 255, "ä" * 127, "trailing ", " leading",
    "e\u0301 decomposed", "name.upload", "...", "CON", "a:b*c|d<e>",
)  # fmt: skip


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


def make_tree(root: Path, *, large_bytes: int) -> None:
    """The project's own sources many times over, links, odd names, empty files, modes, deep folders, two pictures, one
    large file."""
    root.mkdir()
    sources = [path for folder in ("bitcasafs", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    for number in range(6):
        for path in sources:
            copy = root / f"source {number}" / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        os.symlink(f"../source {number}/bitcasafs/errors.py", root / f"source {number}" / "link to a file")
    odd = root / "odd"
    odd.mkdir()
    for number, name in enumerate(ODD_NAMES):
        (odd / name).write_bytes(random.Random(number).randbytes(number * 1000))
    os.symlink("nowhere", odd / "dangling")
    os.symlink("/etc/hostname", odd / "absolute")
    os.symlink(".", odd / "itself")
    empty = root / "empty"
    empty.mkdir()
    for number in range(50):
        (empty / f"empty {number}").touch()
    (empty / "folder").mkdir()
    deep = root.joinpath("deep", *(f"level {number}" for number in range(40)))
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"bottom")
    program = root / "program"
    program.write_bytes(b"#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    (root / "picture.png").write_bytes(png(400, 300))
    (root / "photo.jpg").write_bytes(jpeg(700_000))
    with (root / "large").open("wb") as file:
        chance = random.Random(1)
        for _ in range(large_bytes // MEBIBYTE):
            file.write(chance.randbytes(MEBIBYTE))


def png(width: int, height: int) -> bytes:
    """A picture of coloured noise, as any viewer shows it."""
    chance = random.Random(2)
    rows = b"".join(b"\0" + chance.randbytes(3 * width) for _ in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg(size_bytes: int) -> bytes:
    """The frame of a JFIF file, with noise for its scan."""
    head = bytes.fromhex("ffd8 ffe0 0010 4a46494600 0101 00 0001 0001 00 00")
    return head + random.Random(3).randbytes(size_bytes).replace(b"\xff", b"\xff\0") + b"\xff\xd9"


def copy_tree(source: Path, target: Path, *, timeout: float = 300) -> None:
    copied = subprocess.run(
        ["cp", "-r", "--preserve=mode", source, target], check=False, capture_output=True, text=True, timeout=timeout
    )
    assert (copied.returncode, copied.stderr) == (0, "")


def assert_same_tree(one: Path, other: Path, *, timeout: float = 300) -> None:
    compared = subprocess.run(
        ["diff", "-r", "--no-dereference", one, other], check=False, capture_output=True, text=True, timeout=timeout
    )
    assert (compared.returncode, compared.stdout, compared.stderr) == (0, "", "")


def round_trip(place: Home, large_bytes: int) -> None:
    source = place.folder / "tree"
    make_tree(source, large_bytes=large_bytes)
    place.mount()
    copy_tree(source, place.mountpoint)
    assert_same_tree(source, place.mountpoint / "tree")
    left = place.umount(timeout=600)
    assert (left.returncode, left.stderr) == (0, "")
    assert os.listdir(place.mountpoint) == []
    assert place.status() == []
    place.mount()
    assert_same_tree(source, place.mountpoint / "tree")
    assert (place.mountpoint / "tree" / "program").stat().st_mode & 0o777 == 0o755
    assert subprocess.run([place.mountpoint / "tree" / "program"], check=False, timeout=20).returncode == 3
    assert place.umount().returncode == 0


@pytest.mark.timeout(900)  # 3 GiB of disk at most: the tree, what waits to be sent, and what the drive keeps
def test_a_tree_with_a_file_of_a_gibibyte_is_the_same_after_a_remount(place: Home) -> None:
    round_trip(place, 1024 * MEBIBYTE)


def test_another_home_with_the_same_drive_sees_what_was_sent(place: Home) -> None:
    place.mount()
    (place.mountpoint / "letter").write_bytes(b"dear reader")
    assert place.umount().returncode == 0
    with home() as other:
        other.mount("-o", f"data={place.drive}")
        assert (other.mountpoint / "letter").read_bytes() == b"dear reader"
        assert other.umount().returncode == 0


def test_what_was_closed_before_a_kill_is_sent_by_the_next_mount(place: Home) -> None:
    content = {f"file {number}": random.Random(number).randbytes(200_000) for number in range(12)}
    with place.mounted() as first:
        # With the server stopped nothing can have been sent when the mount is killed.
        server = place.server_pid()
        assert server is not None
        os.listdir(place.mountpoint)
        os.kill(server, signal.SIGSTOP)
        for name, data in content.items():
            (place.mountpoint / name).write_bytes(data)
        end_process(first.pid, signal.SIGKILL)
        os.kill(server, signal.SIGCONT)
    place.mount()
    assert {name: (place.mountpoint / name).read_bytes() for name in content} == content
    assert place.umount().returncode == 0
    with home() as other:
        other.mount("-o", f"data={place.drive}")
        assert {name: (other.mountpoint / name).read_bytes() for name in content} == content
        assert other.umount().returncode == 0


def test_twenty_files_closed_and_unmounted_at_once_are_all_sent(place: Home) -> None:
    content = {f"file {number}": random.Random(number).randbytes(50_000) for number in range(20)}
    with place.mounted() as mount:
        for name, data in content.items():
            (place.mountpoint / name).write_bytes(data)
        place.fusermount()
        wait_until(lambda: has_ended(mount.pid), "the process has sent the rest and ended", seconds=60)
        assert mount.popen.wait() == 0
    place.mount()
    assert {name: (place.mountpoint / name).read_bytes() for name in content} == content
    assert place.umount().returncode == 0


def test_a_process_that_only_sends_hands_over_to_a_new_mount(place: Home) -> None:
    with place.mounted() as old:
        os.listdir(place.mountpoint)
        server = place.server_pid()
        assert server is not None
        os.kill(server, signal.SIGSTOP)
        (place.mountpoint / "letter").write_bytes(b"dear reader")
        place.fusermount()
        assert not has_ended(old.pid)
        assert [row["mounted"] for row in place.status()] == [False]
        os.kill(server, signal.SIGCONT)
        place.mount()
        wait_until(lambda: has_ended(old.pid), "the old process has ended")
    assert (place.mountpoint / "letter").read_bytes() == b"dear reader"
    assert place.umount().returncode == 0


def test_sigterm_seals_what_is_open_and_ends_in_order(place: Home) -> None:
    with place.mounted() as mount:
        file = (place.mountpoint / "open").open("wb")
        file.write(b"written, not closed")
        file.flush()
        assert mount.stop(timeout_seconds=30) == 0
        with pytest.raises(OSError, match="not connected"):
            file.close()
    assert os.listdir(place.mountpoint) == []
    place.mount()
    assert (place.mountpoint / "open").read_bytes() == b"written, not closed"
    assert place.umount().returncode == 0


def test_umount_refuses_while_a_file_is_open_and_names_the_program(place: Home) -> None:
    place.mount()
    with (place.mountpoint / "open").open("wb"):
        refused = place.umount()
        assert refused.returncode == 32
        assert f"process {os.getpid()}" in refused.stderr
        assert "open" in refused.stderr
    assert place.umount().returncode == 0


def test_umount_says_what_stays_when_the_portal_takes_nothing(place: Home) -> None:
    place.mount("-o", "timeout=2s")
    os.listdir(place.mountpoint)
    server = place.server_pid()
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    (place.mountpoint / "letter").write_bytes(b"dear reader")
    left = place.umount()
    assert left.returncode == 64
    assert "1 change is not on the portal yet" in left.stderr
    assert str(place.state) in left.stderr
    assert os.listdir(place.mountpoint) == []
    os.kill(server, signal.SIGCONT)
    wait_until(lambda: place.status() == [], "the rest is sent, and the process has ended")
    place.mount()
    assert (place.mountpoint / "letter").read_bytes() == b"dear reader"
    assert place.umount().returncode == 0


def test_a_mountpoint_whose_process_was_killed_can_be_mounted_again(place: Home) -> None:
    with place.mounted() as mount:
        end_process(mount.pid, signal.SIGKILL)
        with pytest.raises(OSError) as caught:
            os.listdir(place.mountpoint)
        assert caught.value.errno in (errno.ECONNABORTED, errno.ENOTCONN)
        place.mount()
    assert os.listdir(place.mountpoint) == []
    assert place.umount().returncode == 0


def test_a_server_that_dies_is_started_again(place: Home) -> None:
    place.mount("-o", "ttl=0s")
    (place.mountpoint / "before").write_bytes(b"before")
    server = place.server_pid()
    assert server is not None
    end_process(server, signal.SIGKILL)
    (place.mountpoint / "after").write_bytes(b"after")
    wait_until(lambda: place.server_pid() not in (None, server), "another server runs")
    assert sorted(os.listdir(place.mountpoint)) == ["after", "before"]
    assert place.umount().returncode == 0


def test_two_mounts_of_one_drive_at_once_start_one_server(place: Home) -> None:
    with home() as other:
        commands = [
            subprocess.Popen(
                [*_mount_command(), "-o", f"data={place.drive}", one.mountpoint], env=one.environment, cwd=one.folder
            )
            for one in (place, other)
        ]
        assert [command.wait(timeout=60) for command in commands] == [0, 0]
        (place.mountpoint / "letter").write_bytes(b"dear reader")
        assert place.umount().returncode == 0
        assert (other.mountpoint / "letter").read_bytes() == b"dear reader"
        assert other.umount().returncode == 0


def test_sync_waits_until_everything_is_on_the_portal(place: Home) -> None:
    place.mount()
    data = os.urandom(3 * MEBIBYTE)
    (place.mountpoint / "letter").write_bytes(data)
    assert place.run("bitcasafs", "sync", place.mountpoint / "letter").returncode == 0
    [status] = place.status()
    assert (status["pending"], status["problem_count"], status["sent_changes"]) == (0, 0, 1)
    stored = [path for path in (place.drive / "content").rglob("*") if path.is_file()]
    assert hashlib.sha256(data).digest() in {hashlib.sha256(path.read_bytes()).digest() for path in stored}
    assert place.umount().returncode == 0


def test_sync_sends_what_is_still_open(place: Home) -> None:
    place.mount()
    with (place.mountpoint / "log").open("wb", buffering=0) as log:
        log.write(b"a line of a log that is never closed")
        assert place.run("bitcasafs", "sync", place.mountpoint, timeout=60).returncode == 0
        [status] = place.status()
        assert (status["pending"], status["sent_changes"]) == (0, 1)
        stored = [path.read_bytes() for path in (place.drive / "content").rglob("*") if path.is_file()]
        assert b"a line of a log that is never closed" in stored
    assert place.umount().returncode == 0


def test_the_kernel_lets_many_requests_wait(place: Home) -> None:
    place.mount()
    minor = os.minor(place.mountpoint.stat().st_dev)
    limits = Path(f"/sys/fs/fuse/connections/{minor}")
    [status] = place.status()
    assert status["kernel_limits_raised"]
    if limits.is_dir():  # containers often lack it, and what it shows
        assert (limits / "max_background").read_text() == "1024\n"
        assert (limits / "congestion_threshold").read_text() == "768\n"
    assert place.umount().returncode == 0


def test_secrets_are_for_this_user_alone(place: Home) -> None:
    place.mount()
    password = place.drive / "mount-password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.drive.stat().st_mode) == 0o700
    secret = password.read_text()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        if process.exists():
            assert secret.encode() not in process.read_bytes()
    assert secret not in place.logs()
    assert secret not in (place.drive / "server.log").read_text()
    assert place.umount().returncode == 0


def _mount_command() -> list[str]:
    return [sys.executable, "-m", "bitcasafs.cli.mount"]
