"""umount.bitcasafs and the commands that ask mounts."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounted import Home, end_process, home, wait_until


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """The folder is open meanwhile."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(held)


@contextlib.contextmanager
def waiting_umount(place: Home) -> Iterator[subprocess.Popen[bytes]]:
    """The command on a terminal, when it has said that it waits for one change."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bitcasafs.cli.umount", str(place.mountpoint)],
        env=place.environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as command:  # fmt: skip
        os.close(theirs)
        said = b""
        while b"1 change to send" not in said:
            said += os.read(ours, 1000)
        yield command
    os.close(ours)


def test_where_nothing_is_mounted_there_is_nothing_to_unmount(place: Home) -> None:
    done = place.umount()
    assert done.returncode == 1
    assert f"no Bitcasa drive is mounted at {place.mountpoint}" in done.stderr


def test_the_help_names_the_exit_codes(place: Home) -> None:
    told = place.run("umount", "--help")
    assert told.returncode == 0
    assert "64 some changes are kept" in told.stdout
    assert place.run("umount", "--frobnicate", "x").returncode == 1
    assert place.run("umount").returncode == 1


def test_what_mount_passes_along_is_accepted(place: Home) -> None:
    place.mount()
    assert place.run("umount", place.mountpoint, "-t", "fuse.bitcasafs", "-n").returncode == 0


def test_a_relative_path_and_a_link_lead_to_the_mount(place: Home) -> None:
    place.mount()
    (place.folder / "here").symlink_to(".")
    assert place.run("umount", "here/mnt").returncode == 0


def test_a_mount_whose_process_was_killed_is_unmounted_and_that_is_said(place: Home) -> None:
    with place.mounted() as mount:
        end_process(mount.pid, signal.SIGKILL)
        done = place.umount()
    assert done.returncode == 64
    assert "next mount" in done.stderr
    assert not os.path.ismount(place.mountpoint)


def test_a_killed_mount_is_seen_through_what_the_kernel_remembers_and_left_by_programs_that_are_in_it(
    place: Home,
) -> None:
    with place.mounted() as mount, holding(place.mountpoint):
        os.stat(place.mountpoint)
        end_process(mount.pid, signal.SIGKILL)
        done = place.umount()
        assert done.returncode == 64, done.stderr
        assert not os.path.ismount(place.mountpoint)
        place.mount()
    assert os.listdir(place.mountpoint) == []
    assert place.umount().returncode == 0


def test_a_link_that_is_the_last_word_leads_to_the_mount(place: Home) -> None:
    place.mount()
    (place.folder / "link").symlink_to("mnt")
    (place.folder / "link to a link").symlink_to(place.folder / "link")
    (place.mountpoint / "outward").symlink_to("/etc/hostname")
    for path in ("link to a link", "mnt/outward", "link/outward"):
        assert f"{place.mountpoint}: mounted" in place.run("bitcasafs", "status", path).stdout
        assert place.run("bitcasafs", "sync", path).returncode == 0
    done = place.run("umount", "link to a link")
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.ismount(place.mountpoint)


def test_a_file_that_was_never_closed_comes_back_under_a_name_of_its_own(place: Home) -> None:
    with place.mounted() as mount:
        file = os.open(place.mountpoint / "letter", os.O_CREAT | os.O_WRONLY)
        os.write(file, b"dear reader")
        end_process(mount.pid, signal.SIGKILL)
        with pytest.raises(OSError, match=r"not connected|connection abort"):
            os.close(file)
    place.mount()
    assert place.run("bitcasafs", "sync").returncode == 0
    assert [(path.name[:18], path.read_bytes()) for path in place.mountpoint.iterdir()] == [
        ("letter (recovered ", b"dear reader")
    ]
    assert place.umount().returncode == 0


def test_a_mount_of_another_user_is_left_to_that_user(place: Home) -> None:
    place.mount()
    with home() as stranger:
        done = stranger.run("umount", place.mountpoint)
    assert done.returncode == 32
    assert "as the user who mounted it" in done.stderr
    assert os.path.ismount(place.mountpoint)
    assert place.umount().returncode == 0


def test_ctrl_c_while_it_waits_leaves_the_drive_mounted(place: Home) -> None:
    place.mount()
    os.listdir(place.mountpoint)
    server = place.server_pid()
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    (place.mountpoint / "letter").write_bytes(b"dear reader")
    with waiting_umount(place) as command:
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=20) == 8
    assert os.path.ismount(place.mountpoint)
    os.kill(server, signal.SIGCONT)
    assert place.umount().returncode == 0


def test_wait_waits_longer_than_the_timeout(place: Home) -> None:
    place.mount("-o", "timeout=1s")
    os.listdir(place.mountpoint)
    server = place.server_pid()
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    (place.mountpoint / "letter").write_bytes(b"dear reader")
    with subprocess.Popen(
        [sys.executable, "-m", "bitcasafs.cli.umount", "--wait", str(place.mountpoint)], env=place.environment
    ) as command:
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(timeout=4)
        os.kill(server, signal.SIGCONT)
        assert command.wait(timeout=60) == 0


def test_status_tells_of_every_mount_and_of_one_by_any_path_in_it(place: Home) -> None:
    told = place.run("bitcasafs", "status")
    assert (told.returncode, told.stdout) == (0, "no drive is mounted\n")
    place.mount()
    (place.mountpoint / "folder").mkdir()
    for words in ((), (place.mountpoint,), (place.mountpoint / "folder" / "file",)):
        told = place.run("bitcasafs", "status", *words)
        assert told.returncode == 0
        assert f"{place.mountpoint}: mounted" in told.stdout
    assert place.run("bitcasafs", "status", place.folder).returncode == 1
    assert place.umount().returncode == 0


def test_sync_of_what_is_no_mount_is_refused(place: Home) -> None:
    assert place.run("bitcasafs", "sync", place.folder).returncode == 1
    assert place.run("bitcasafs", "sync").returncode == 0


def test_a_process_that_still_sends_is_waited_for(place: Home) -> None:
    with place.mounted() as mount:
        os.listdir(place.mountpoint)
        server = place.server_pid()
        assert server is not None
        os.kill(server, signal.SIGSTOP)
        (place.mountpoint / "letter").write_bytes(b"dear reader")
        place.fusermount()
        with waiting_umount(place) as command:
            os.kill(server, signal.SIGCONT)
            assert command.wait(timeout=60) == 0
        wait_until(lambda: mount.popen.poll() is not None, "the process has ended")
