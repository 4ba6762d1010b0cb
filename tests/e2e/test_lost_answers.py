"""The portal did all that it was asked for, and the mount that asked died before it heard: the next one finds out."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.deeds import File, Link, Tree, found
from tests.support.faults import Fault, LostAnswer, Rule, Script, Stall
from tests.support.manifest import differences
from tests.support.mounted import Home, wait_until
from tests.support.portal_session import Drive
from tests.support.sites import Site, umount

CONTENT, NEW = b"content" * 1000, b"new content" * 1000
AFTER: Tree = {
    "created": File(NEW), "overwritten": File(NEW), "appended": File(CONTENT + NEW), "renamed there": File(CONTENT),
    "replaced": File(CONTENT), "saved": File(NEW), "link": Link("created"), "chmod": File(CONTENT, 0o600),
    "empty": File(),
}  # fmt: skip
FOLDERS = ("made", "moved there")


def prepare(folder: Path) -> None:
    folder.mkdir()
    names = ("overwritten", "appended", "renamed", "replacing", "replaced", "saved", "chmod", "unlinked")
    for name in names:
        (folder / name).write_bytes(CONTENT)
    for name in ("removed", "moved"):
        (folder / name).mkdir()


def change(folder: Path) -> None:
    """One of each kind, none of which waits for another."""
    (folder / "created").write_bytes(NEW)
    (folder / "empty").write_bytes(b"")
    (folder / "overwritten").write_bytes(NEW)
    with (folder / "appended").open("ab") as file:
        file.write(NEW)
    (folder / "renamed").rename(folder / "renamed there")
    (folder / "replacing").replace(folder / "replaced")
    (folder / "saved~").write_bytes(NEW)
    (folder / "saved~").replace(folder / "saved")
    (folder / "link").symlink_to("created")
    (folder / "chmod").chmod(0o600)
    (folder / "unlinked").unlink()
    (folder / "made").mkdir()
    (folder / "moved").rename(folder / "moved there")
    (folder / "removed").rmdir()


def look(folder: Path) -> Tree:
    """Without the folders, which are compared as they come."""
    tree = found(folder)
    assert sorted(path for path in tree if path in FOLDERS) == sorted(FOLDERS)
    return {path: entry for path, entry in tree.items() if path not in FOLDERS}


def unheard(portal: Site) -> int:
    """How many answers nobody got."""
    return sum(seen.upstream_status is not None and seen.status is None for seen in portal.proxy.log.all())


@pytest.mark.parametrize("kills", [1, 3])
@pytest.mark.parametrize("fault", [LostAnswer(), Stall()], ids=["reset", "silence"])
def test_what_the_portal_did_and_nobody_heard_is_not_done_twice(
    portal: Site, place: Home, other: Home, kills: int, fault: Fault
) -> None:
    """`kills`: so many mounts in a row hear nothing; a historical portal is asked for one step after the other. After
    a reset the mount knows that it does not know; in a silence it dies without a thought."""
    name = f"unheard {kills} {type(fault).__name__}"
    portal.mount(place)
    prepare(place.mountpoint / name)
    umount(place)
    for number in range(kills):
        before = unheard(portal)
        portal.proxy.script = Script([Rule(fault, "POST", "^/(batch|files|rename|delete|directory)")])
        with place.mounted(*portal.arguments(place)) as mount:
            if number == 0:
                os.listdir(place.mountpoint / name)
                change(place.mountpoint / name)
                wait_until(lambda before=before: unheard(portal) > before, "the portal has done something")
            time.sleep(1)  # it does more, and nobody knows how much
            mount.kill()
        place.umount()
        portal.heal()
    portal.mount(place)
    assert differences(AFTER, look(place.mountpoint / name)) == []
    umount(place)
    portal.mount(other)
    assert differences(AFTER, look(other.mountpoint / name), attributes=not portal.historical) == []
    umount(other)
    with Drive.of(portal.server) as drive:
        assert sorted(drive.paths(name)) == sorted([*AFTER, *FOLDERS])
