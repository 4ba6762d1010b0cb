"""A mount killed with content on its way, and its folder as another boot would find it after a power cut."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.conftest import Home
from tests.support.mounted import end_process, wait_until
from tests.support.sites import Site, slow_on_historical, umount

OLD, NEW = b"as the portal has it " * 5000, b"what somebody wrote " * 7000


def outbox_of(place: Home) -> Path:
    (found,) = place.state.glob("accounts/*/outbox.sqlite3")
    return found


def synced_names(place: Home) -> set[str]:
    """Of staged files that the mount has noted as synced."""
    with contextlib.closing(sqlite3.connect(outbox_of(place))) as database:
        return {staged.split(" ", 1)[1] for (staged,) in database.execute("SELECT staged FROM changes WHERE synced")}


def lose_power(place: Home, *unsynced: str) -> None:
    """The process is dead. Another boot finds zeros where nothing was synced, `unsynced` among it."""
    path = outbox_of(place)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE changes SET boot_id = 'the boot before'")
        for name in unsynced:
            database.execute("UPDATE changes SET synced = 0 WHERE staged LIKE '% ' || ?", (name,))
        for (staged,) in database.execute("SELECT staged FROM changes WHERE NOT synced AND staged NOTNULL"):
            damaged = path.parent / "staged" / staged
            damaged.write_bytes(bytes(damaged.stat().st_size))


@slow_on_historical
@pytest.mark.timeout(240)
def test_what_was_fsynced_is_sent_by_the_next_boot_and_nothing_damaged_takes_a_name(
    portal: Site, place: Home, other: Home
) -> None:
    portal.mount(place)
    folder = place.mountpoint / "power cut"
    folder.mkdir()
    for name in ("good", "fsynced"):
        (folder / name).write_bytes(OLD)
    portal.remount(place)
    assert set(os.listdir(folder)) == {"good", "fsynced"}
    portal.proxy.shut()
    for name in ("fsynced", "fsynced and new"):
        with (folder / name).open("wb") as file:
            file.write(NEW)
            file.flush()
            os.fsync(file.fileno())
    (folder / "closed a while ago").write_bytes(NEW)
    wait_until(lambda: "closed a while ago" in synced_names(place), "it is synced without being asked", seconds=20)
    with contextlib.suppress(OSError), (folder / "half").open("wb") as half:
        half.write(NEW)
        half.flush()
        (folder / "good").write_bytes(NEW)
        end_process(place.status()[0]["pid"], signal.SIGKILL)
    lose_power(place, "good")
    portal.heal()
    portal.mount(place)
    umount(place)
    portal.mount(other)
    found = {path.name: path.read_bytes() for path in (other.mountpoint / "power cut").iterdir()}
    aside = {name.partition(" (recovered ")[0]: found.pop(name) for name in list(found) if " (recovered " in name}
    assert found == {"good": OLD, "fsynced": NEW, "fsynced and new": NEW, "closed a while ago": NEW}
    assert aside == {"good": bytes(len(NEW)), "half": bytes(len(NEW))}
    umount(other)


@slow_on_historical
@pytest.mark.timeout(240)
def test_a_mount_that_ends_in_order_has_synced_all_that_it_leaves(portal: Site, place: Home, other: Home) -> None:
    portal.mount(place)
    folder = place.mountpoint / "in order"
    folder.mkdir()
    portal.remount(place)
    assert os.listdir(folder) == []
    portal.proxy.shut()
    for number in range(200):
        (folder / str(number)).write_bytes(NEW[:number])
    end_process(place.status()[0]["pid"], signal.SIGTERM)
    lose_power(place)
    portal.heal()
    portal.mount(place)
    umount(place)
    portal.mount(other)
    found = {path.name: path.read_bytes() for path in (other.mountpoint / "in order").iterdir()}
    assert found == {str(number): NEW[:number] for number in range(200)}
    umount(other)
