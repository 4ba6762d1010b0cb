"""What the mountpoint shows is remembered, so that a mount starts offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitcasafs.errors import NotFound
from bitcasafs.mount.root import ALL_ROOTS, choose_root, read_root, write_root
from bitcasafs.values.items import Item, Kind, Listing, NodeId, RootKind

DRIVE = Item("Bitcasa Infinite Drive", "/" + "a" * 64, Kind.FOLDER, node=NodeId("n1"), root=RootKind.DRIVE)
BACKUP = Item("Laptop", "/" + "b" * 64, Kind.FOLDER, mirrored=True, root=RootKind.BACKUP)


def test_the_drive_is_shown_unless_all_roots_are_wanted() -> None:
    assert choose_root(Listing((BACKUP, DRIVE)), all_roots=False) is DRIVE
    assert choose_root(Listing((BACKUP, DRIVE)), all_roots=True) is ALL_ROOTS


def test_a_portal_without_a_drive_is_named() -> None:
    with pytest.raises(NotFound, match="no drive"):
        choose_root(Listing((BACKUP,)), all_roots=False)


def test_what_was_shown_is_remembered(tmp_path: Path) -> None:
    assert read_root(tmp_path) is None
    write_root(tmp_path, DRIVE)
    told = read_root(tmp_path)
    assert told is not None
    assert (told.name, told.path, told.node, told.kind) == (DRIVE.name, DRIVE.path, DRIVE.node, Kind.FOLDER)
    (tmp_path / "root.json").write_text("{")
    assert read_root(tmp_path) is None
