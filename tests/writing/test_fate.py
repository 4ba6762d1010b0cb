"""What becomes of content that an earlier process left, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitcasafs.writing.change import Record, State
from bitcasafs.writing.fate import Fate, fate
from tests.support.changes import record

SEALED = 100
DELETED, UPLOADED = (".f.upload", True, True), (".f.upload", True, False)


def content(
    state: str, *, sealed: bool, synced: bool = False, replacing: tuple[str, bool, bool] | None = None
) -> Record:
    size = SEALED if sealed else None
    found = record(1, "content", 2, state, size_bytes=size, replacing=replacing)
    return replace(found, generation=int(sealed), synced=synced)


@pytest.mark.parametrize(
    ("state", "sealed", "size", "written", "wanted"),
    [
        ("ready", True, SEALED, True, Fate.AS_SEALED),
        ("ready", True, SEALED - 1, True, Fate.LOST),
        ("ready", True, None, True, Fate.LOST),
        ("open", True, SEALED + 5, True, Fate.AS_IT_STANDS),
        ("open", True, SEALED - 5, True, Fate.AS_IT_STANDS),
        ("open", True, None, True, Fate.LOST),
        ("open", False, 10, True, Fate.ASIDE),
        ("open", False, 0, False, Fate.NOTHING),
        ("open", False, 10, False, Fate.NOTHING),
        ("open", False, None, False, Fate.LOST),
        ("problem", True, SEALED, True, Fate.AS_SEALED),
        ("problem", True, None, True, Fate.AS_SEALED),
        ("problem", False, 10, True, Fate.AS_SEALED),
    ],
)
def test_after_a_kill(state: str, sealed: bool, size: int | None, written: bool, wanted: Fate) -> None:
    for synced in (False, sealed):  # the disk has all of it, synced or not
        one = content(state, sealed=sealed, synced=synced)
        assert fate(one, size, written=written, boot_id="boot") is wanted


@pytest.mark.parametrize(
    ("state", "sealed", "synced", "size", "wanted"),
    [
        ("ready", True, True, SEALED, Fate.AS_SEALED),
        ("ready", True, True, SEALED + 5, Fate.AS_IT_STANDS),  # written since, and that it was did not reach the disk
        ("ready", True, True, SEALED - 5, Fate.ASIDE),
        ("ready", True, True, None, Fate.LOST),
        ("ready", True, False, SEALED, Fate.ASIDE),
        ("ready", True, False, SEALED - 5, Fate.ASIDE),
        ("ready", True, False, None, Fate.LOST),
        ("open", True, True, SEALED, Fate.AS_IT_STANDS),
        ("open", True, True, SEALED - 5, Fate.ASIDE),
        ("open", True, False, SEALED + 5, Fate.ASIDE),
        ("open", False, False, 10, Fate.ASIDE),
        ("open", False, False, None, Fate.NOTHING),
        ("problem", True, True, SEALED, Fate.AS_SEALED),
        ("problem", True, False, SEALED, Fate.ASIDE),
        ("problem", True, False, None, Fate.AS_SEALED),
    ],
)
def test_after_a_power_cut(state: str, sealed: bool, synced: bool, size: int | None, wanted: Fate) -> None:
    one = content(state, sealed=sealed, synced=synced)
    assert fate(one, size, written=bool(size), boot_id="another boot") is wanted


@pytest.mark.parametrize("size", [0, SEALED - 5, SEALED])
def test_what_was_uploaded_aside_counts_once_what_it_replaces_is_deleted(size: int) -> None:
    for replacing, wanted in ((DELETED, Fate.AS_SEALED), (UPLOADED, Fate.ASIDE)):
        one = content(State.READY.value, sealed=True, replacing=replacing)
        assert fate(one, size, written=True, boot_id="another boot") is wanted
