"""Trees go in and come out with the programs that people copy with, and a portal of either kind holds them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.mounted import Home
from tests.support.sites import Site, run, slow_on_historical, umount
from tests.support.trees import assert_same, look, make_tree

MEBIBYTE = 1024 * 1024


def assert_plain(site: Site, source: Path, elsewhere: Home, name: str) -> None:
    """In another mount the contents are there; of a portal that keeps no attributes they are plain files."""
    site.mount(elsewhere)
    there = elsewhere.mountpoint / name
    if not site.historical:
        assert_same(look(source), look(there))
    else:
        expected = look(source, attributes=False)
        found = look(there, attributes=False)
        files = {path: seen for path, seen in expected.items() if not (source / path).is_symlink()}
        assert_same(files, {path: seen for path, seen in found.items() if path in files})
        assert {path.lstat().st_mode & 0o7777 for path in there.rglob("*")} == {0o644, 0o755}
    umount(elsewhere)


@slow_on_historical
@pytest.mark.timeout(600)
def test_a_thousand_oddly_named_files_are_the_same_after_a_remount(portal: Site, place: Home, other: Home) -> None:
    source, copy = place.folder / "tree", place.mountpoint / "cp"
    make_tree(source, 1000, xattrs=True)
    portal.mount(place)
    run("cp", "-a", source, copy, place=place, timeout=300)
    assert_same(look(source), look(copy))
    portal.remount(place)
    run("diff", "-r", "--no-dereference", source, copy, place=place, timeout=300)
    assert_same(look(source), look(copy))
    umount(place)
    assert_plain(portal, source, other, "cp")


@pytest.mark.timeout(300)
def test_a_second_rsync_sends_nothing(portal: Site, place: Home) -> None:
    source, copy = place.folder / "tree", place.mountpoint / "rsync"
    make_tree(source, 150)
    portal.mount(place)
    assert rsynced(source, copy, place) == 150
    assert_same(look(source), look(copy))
    assert rsynced(source, copy, place) == 0
    portal.remount(place)
    assert rsynced(source, copy, place) == 0
    changed = next(path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink())
    changed.write_bytes(b"changed")
    (source / "empty folder").rmdir()
    assert rsynced(source, copy, place, "--delete") == 1
    assert_same(look(source), look(copy))
    umount(place)


def rsynced(source: Path, target: Path, place: Home, *options: str) -> int:
    """How many files `rsync -a` sent. When none, it had nothing to say of any item either."""
    told = run("rsync", "-a", "-i", "--stats", *options, f"{source}/", target, place=place)
    found = re.search(r"^Number of regular files transferred: ([\d,]+)$", told, re.MULTILINE)
    assert found is not None, told
    sent = int(found[1].replace(",", ""))
    if not sent:
        assert told.lstrip("\n").startswith("Number of files"), told
    return sent


@slow_on_historical
@pytest.mark.timeout(300)
def test_an_archive_of_five_hundred_files_is_unpacked(portal: Site, place: Home) -> None:
    source, unpacked = place.folder / "tree", place.mountpoint / "tar"
    make_tree(source, 500)
    run("tar", "-cf", "tree.tar", "tree", place=place)
    portal.mount(place)
    unpacked.mkdir()
    run("tar", "--warning=no-timestamp", "-xpf", "tree.tar", "-C", unpacked, place=place)
    # tar keeps seconds, unless it is told otherwise.
    assert_same(look(source, attributes=False), look(unpacked / "tree", attributes=False))
    portal.remount(place)
    assert_same(look(source, attributes=False), look(unpacked / "tree", attributes=False))
    run("tar", "-df", "tree.tar", "-C", unpacked, place=place)
    umount(place)


@pytest.mark.timeout(300)
def test_a_folder_moves_with_all_that_is_in_it(portal: Site, place: Home) -> None:
    source, work = place.folder / "tree", place.mountpoint / "mv"
    make_tree(source, 60, xattrs=True)
    expected = look(source)
    portal.mount(place)
    (work / "target").mkdir(parents=True)
    run("cp", "-a", source, work / "old", place=place)
    # At once, while its files are on their way; then when they are there.
    run("mv", work / "old", work / "target" / "new name", place=place)
    assert os.listdir(work) == ["target"]
    assert_same(expected, look(work / "target" / "new name"))
    portal.remount(place)
    assert_same(expected, look(work / "target" / "new name"))
    run("mv", "-T", work / "target" / "new name", work / "again", place=place)
    run("mv", source, work / "target", place=place)  # from another file system: mv copies
    assert not source.exists()
    assert_same(expected, look(work / "again"))
    portal.remount(place)
    assert sorted(os.listdir(work)) == ["again", "target"]
    assert os.listdir(work / "target") == ["tree"]
    assert_same(expected, look(work / "again"))
    assert_same(expected, look(work / "target" / "tree"))
    umount(place)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_sparse_file_of_a_gibibyte_goes_in_and_comes_out(portal: Site, place: Home) -> None:
    source, copy = place.folder / "sparse", place.mountpoint / "sparse"
    with source.open("wb") as file:
        file.truncate(1024 * MEBIBYTE)
        for offset in (0, 5 * MEBIBYTE + 1, 300 * MEBIBYTE - 7, 700 * MEBIBYTE, 1023 * MEBIBYTE):
            file.seek(offset)
            file.write(os.urandom(MEBIBYTE))
    assert source.stat().st_blocks * 512 < 16 * MEBIBYTE
    portal.mount(place)
    run("cp", source, copy, place=place, timeout=300)
    with source.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest(copy, place) == expected
    portal.remount(place)
    assert copy.stat().st_size == 1024 * MEBIBYTE
    assert digest(copy, place) == expected
    run("cp", copy, place.folder / "out", place=place, timeout=300)
    run("cmp", source, place.folder / "out", place=place, timeout=300)
    copy.unlink()  # the portal serves other tests as well
    umount(place)


def digest(path: Path, place: Home) -> str:
    return run("sha256sum", path, place=place, timeout=300).split()[0]


@slow_on_historical
def test_df_tells_how_much_there_is(portal: Site, place: Home) -> None:
    portal.mount(place)
    [source, size, used, free, mounted_on] = df(place)
    assert (source, mounted_on) == (portal.url, str(place.mountpoint))
    assert int(size) == 1 << 50  # a drive without a limit
    assert int(used) + int(free) == int(size)
    (place.mountpoint / "df").write_bytes(bytes(3 * MEBIBYTE))
    portal.remount(place)
    assert int(df(place)[2]) >= int(used) + 3 * MEBIBYTE
    umount(place)


def df(place: Home) -> list[str]:
    told = run("df", "-B1", "--output=source,size,used,avail,target", place.mountpoint, place=place)
    return told.splitlines()[1].split()


@slow_on_historical
def test_a_copy_between_two_folders_of_the_drive_is_whole(portal: Site, place: Home) -> None:
    """copy_file_range(2) and plain reads, of a file that is not on this disk and one that is not sent yet."""
    data = os.urandom(3 * MEBIBYTE + 1)
    portal.mount(place)
    work = place.mountpoint / "copies"
    work.mkdir()
    (work / "a").write_bytes(data)
    run("cp", work / "a", work / "b", place=place)
    portal.remount(place)
    run("cp", "--reflink=auto", work / "a", work / "c", place=place)
    shutil.copy2(work / "b", work / "d")
    assert {(work / name).read_bytes() for name in "abcd"} == {data}
    portal.remount(place)
    assert {(work / name).read_bytes() for name in "abcd"} == {data}
    umount(place)


@slow_on_historical
def test_folders_are_removed_with_all_that_is_in_them(portal: Site, place: Home) -> None:
    source, work = place.folder / "tree", place.mountpoint / "rm"
    make_tree(source, 60)
    portal.mount(place)
    run("cp", "-a", source, work, place=place)
    run("rm", "-r", work, place=place)
    assert not work.exists()
    run("cp", "-a", source, work, place=place)
    portal.remount(place)
    run("rm", "-r", work, place=place)
    portal.remount(place)
    assert "rm" not in os.listdir(place.mountpoint)
    refused = subprocess.run(["rmdir", work], check=False, capture_output=True, timeout=20)
    assert refused.returncode == 1
    umount(place)
