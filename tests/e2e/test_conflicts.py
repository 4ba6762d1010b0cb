"""Two people change the same while one of them cannot send: what both find when it can again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.faults import Rule, Script, Status
from tests.support.mounted import Home, wait_until
from tests.support.sites import Site, umount

HELD = Script([Rule(Status(503, retry_after_seconds=1), "POST", "^/(files|batch|delete|rename|directory)")])
"""Ours is told to come back later; theirs goes another way to the same server."""


@pytest.fixture
def folders(portal: Site, place: Home, other: Home, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """One folder with four files as either sees it."""
    portal.mount(place, "ttl=1s")
    other.mount(*portal.arguments(other, "ttl=1s", url=f"http://{portal.server.endpoint}"))
    name = request.node.name.partition("[")[0]
    ours, theirs = place.mountpoint / name, other.mountpoint / name
    ours.mkdir()
    for file in ("changed", "deleted here", "deleted there", "renamed there"):
        (ours / file).write_bytes(f"the base of {file}".encode())
    sync(place)
    wait_until(theirs.is_dir, "the folder is there")
    wait_until(lambda: len(os.listdir(theirs)) == 4, "its files are there")
    return ours, theirs


def sync(place: Home) -> None:
    done = place.run("bitcasafs", "sync", place.mountpoint)
    assert done.returncode == 0, done.stderr


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.timeout(180)
def test_what_both_changed_is_kept_from_both(
    portal: Site, place: Home, other: Home, folders: tuple[Path, Path]
) -> None:
    ours, theirs = folders
    portal.proxy.script = HELD
    (ours / "changed").write_bytes(b"ours")
    (ours / "deleted here").unlink()
    (ours / "deleted there").write_bytes(b"ours, and theirs is gone")
    (ours / "renamed there").write_bytes(b"ours, and theirs has another name")
    (ours / "made").write_bytes(b"made here")
    (ours / "folder").mkdir()
    (ours / "folder" / "here").write_bytes(b"here")
    (theirs / "changed").write_bytes(b"theirs")
    (theirs / "deleted here").write_bytes(b"theirs, though ours is deleted")
    (theirs / "deleted there").unlink()
    os.rename(theirs / "renamed there", theirs / "another name")
    (theirs / "made").write_bytes(b"made there")
    (theirs / "folder").mkdir()
    (theirs / "folder" / "there").write_bytes(b"there")
    sync(other)
    portal.heal()
    sync(place)
    wait_until(lambda: content(ours) == content(theirs), "both see the same", seconds=20)
    found = content(ours)
    copies = sorted(name for name in found if "(conflict from " in name)
    assert [name.partition(" (")[0] for name in copies] == ["changed", "made"]
    assert [found.pop(name) for name in copies] == [b"ours", b"made here"]
    assert found == {
        "changed": b"theirs",
        "deleted here": b"theirs, though ours is deleted",
        "deleted there": b"ours, and theirs is gone",
        "another name": b"ours, and theirs has another name",
        "made": b"made there",
    }
    both = {"here": b"here", "there": b"there"}
    wait_until(lambda: content(ours / "folder") == content(theirs / "folder") == both, "the folders are one")
    told = json.loads(place.run("bitcasafs", "status", "--json", place.mountpoint).stdout)[0]
    assert told["problem_count"] == 0
    assert len(told["notices"]) >= 4
    for one in (place, other):
        umount(one)
