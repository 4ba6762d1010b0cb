"""A drive on a portal that somebody else runs: ours on TCP, and in historical mode."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounted import Home, home
from tests.support.processes import Process, running, says

PASSWORD = "correct horse battery"


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(params=[(), ("--historical",)], ids=["extended", "historical"])
def portal(place: Home, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server with one user, `me`."""
    data = place.folder / "server"
    command = [sys.executable, "-m", "bitcasafs.cli.bitcasafs"]
    subprocess.run(
        [*command, "user", "add", "me", "--data", data, "--password-stdin"], input=f"{PASSWORD}\n", text=True,
        env=place.environment, check=True, timeout=30,
    )  # fmt: skip
    argv = [*command, "serve", "--data", data, "--listen", "127.0.0.1:0", *request.param]
    with running(argv, ready=says("^listening on"), environment=place.environment) as server:
        yield f"http://127.0.0.1:{port_of(server)}"


def port_of(server: Process) -> int:
    found = re.search(r"^listening on .*:(\d+)$", server.output(), re.MULTILINE)
    assert found is not None, server.output()
    return int(found[1])


def mount(place: Home, portal: str, password: str = PASSWORD, options: str = "") -> subprocess.CompletedProcess[str]:
    secret = place.folder / "secret"
    secret.write_text(password)
    return place.run("mount", portal, place.mountpoint, "-o", f"user=me,password_command=cat {secret}{options}")


def test_a_small_tree_is_the_same_after_a_remount(place: Home, portal: str) -> None:
    source = place.folder / "tree"
    (source / "folder" / "deeper").mkdir(parents=True)
    contents = {"a": b"", "folder/b": b"b" * 100_000, "folder/deeper/ünï ☃": os.urandom(300_000)}
    for name, data in contents.items():
        (source / name).write_bytes(data)
    assert mount(place, portal).returncode == 0
    subprocess.run(["cp", "-r", source, place.mountpoint], check=True, timeout=60)
    (place.mountpoint / "tree" / "folder" / "b").write_bytes(b"replaced")
    (source / "folder" / "b").write_bytes(b"replaced")
    os.rename(place.mountpoint / "tree" / "a", place.mountpoint / "tree" / "folder" / "moved")
    os.rename(source / "a", source / "folder" / "moved")
    left = place.umount()
    assert (left.returncode, left.stderr) == (0, "")
    assert mount(place, portal).returncode == 0
    subprocess.run(["diff", "-r", source, place.mountpoint / "tree"], check=True, timeout=60)
    assert place.umount().returncode == 0
    [account] = (place.state / "accounts").iterdir()
    assert account.name.startswith("me@")
    assert PASSWORD not in place.logs()


def test_a_wrong_password_is_told_with_exit_code_32(place: Home, portal: str) -> None:
    done = mount(place, portal, "wrong")
    assert done.returncode == 32
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr
    assert place.status() == []


def test_all_roots_show_the_drive_as_a_folder(place: Home, portal: str) -> None:
    assert mount(place, portal).returncode == 0
    (place.mountpoint / "letter").write_bytes(b"dear reader")
    assert place.umount().returncode == 0
    assert mount(place, portal, options=",root=all").returncode == 0
    assert os.listdir(place.mountpoint) == ["Bitcasa Infinite Drive"]
    assert Path(place.mountpoint, "Bitcasa Infinite Drive", "letter").read_bytes() == b"dear reader"
    assert place.umount().returncode == 0


def test_a_portal_that_was_mounted_before_can_be_mounted_while_it_is_away(place: Home, portal: str) -> None:
    assert mount(place, portal).returncode == 0
    assert place.umount().returncode == 0
    nobody = "http://127.0.0.1:9"
    accounts = place.state / "accounts"
    [known] = accounts.iterdir()
    known.rename(accounts / "me@http%3A%2F%2F127.0.0.1%3A9")
    assert mount(place, nobody, options=",timeout=1s").returncode == 0
    assert place.status()[0]["mounted"]
    assert os.stat(place.mountpoint).st_mode
    assert place.umount().returncode == 0
