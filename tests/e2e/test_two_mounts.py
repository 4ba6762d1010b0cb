"""Two people with one drive, each with a mount and a state folder of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mounted import Home, wait_until
from tests.support.sites import Site, run, slow_on_historical, umount
from tests.support.trees import assert_same, look, make_tree

TTL = "ttl=1s"


@pytest.fixture
def folders(portal: Site, place: Home, other: Home, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """One new folder of the drive as either sees it."""
    for one in (place, other):
        portal.mount(one, TTL)
    name = request.node.name.partition("[")[0]
    (place.mountpoint / name).mkdir()
    theirs = other.mountpoint / name
    soon(theirs.is_dir, "the folder is there")
    return place.mountpoint / name, theirs


def sync(place: Home) -> None:
    assert place.run("bitcasafs", "sync", place.mountpoint).returncode == 0


def soon(condition: Callable[[], bool], what: str) -> None:
    """Within the TTL, and some seconds that a busy machine may take."""
    wait_until(condition, what, seconds=8)


def test_each_sees_the_others_files_after_the_ttl(
    portal: Site, place: Home, other: Home, folders: tuple[Path, Path]
) -> None:
    ours, theirs = folders
    assert os.listdir(theirs) == []
    make_tree(place.folder / "tree", 60, links=False, attributes=False)
    run("cp", "-r", place.folder / "tree", ours, place=place)
    (theirs / "letter").write_bytes(b"dear reader")
    sync(place)
    sync(other)
    soon(lambda: sorted(os.listdir(theirs)) == ["letter", "tree"], "our tree is there")
    soon((ours / "letter").exists, "their letter is here")
    expected = look(place.folder / "tree", attributes=False)
    assert_same(expected, look(theirs / "tree", attributes=False))
    assert (ours / "letter").read_bytes() == b"dear reader"
    for one in (place, other):
        umount(one)


def test_what_one_changes_moves_and_removes_the_other_sees(
    place: Home, other: Home, folders: tuple[Path, Path]
) -> None:
    ours, theirs = folders
    for name in ("changed", "grown", "moved", "removed", "replaced", "replacing"):
        (ours / name).write_bytes(f"the first {name}".encode() * 1000)
    (ours / "folder" / "deeper").mkdir(parents=True)
    (ours / "folder" / "deeper" / "file").write_bytes(b"deep")
    sync(place)
    soon(lambda: len(os.listdir(theirs)) == 7, "all is there")
    assert (theirs / "changed").read_bytes() == b"the first changed" * 1000
    assert (theirs / "folder" / "deeper" / "file").read_bytes() == b"deep"

    (ours / "changed").write_bytes(b"the second")
    with (ours / "grown").open("ab") as file:
        file.write(b" and more")
    os.rename(ours / "moved", ours / "folder" / "moved here")
    os.rename(ours / "folder", ours / "another name")
    (ours / "removed").unlink()
    os.replace(ours / "replacing", ours / "replaced")
    sync(place)
    soon(lambda: sorted(os.listdir(theirs)) == ["another name", "changed", "grown", "replaced"], "names are as ours")
    soon(lambda: (theirs / "changed").read_bytes() == b"the second", "content is as ours")
    assert (theirs / "grown").read_bytes() == b"the first grown" * 1000 + b" and more"
    assert (theirs / "replaced").read_bytes() == b"the first replacing" * 1000
    # The folder itself was listed a moment ago, and that listing may still be believed.
    soon((theirs / "another name" / "moved here").exists, "the folder has what was moved into it")
    assert (theirs / "another name" / "moved here").read_bytes() == b"the first moved" * 1000
    assert (theirs / "another name" / "deeper" / "file").read_bytes() == b"deep"
    for one in (place, other):
        umount(one)


@slow_on_historical
def test_a_file_that_the_other_holds_open_does_not_change_under_them(
    place: Home, other: Home, folders: tuple[Path, Path]
) -> None:
    ours, theirs = folders
    first, second = os.urandom(600_000), os.urandom(500_000)
    (ours / "file").write_bytes(first)
    sync(place)
    soon((theirs / "file").exists, "the file is there")
    with (theirs / "file").open("rb") as held:
        assert held.read(1000) == first[:1000]
        (ours / "file").write_bytes(second)
        sync(place)
        soon(lambda: (theirs / "file").stat().st_size == len(second), "the new version is there")
        assert (theirs / "file").read_bytes() == second
        assert held.read() == first[1000:]
    for one in (place, other):
        umount(one)
