"""The disk under the state folder becomes full, or read-only: a small one of its own, and everything else for real."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import Rule, Script, Stall
from tests.support.loop_disk import LoopDisk, loop_disk
from tests.support.mounted import Home, end_process, wait_until
from tests.support.sites import Site, site, umount

MIB = 1 << 20
DISK, KEEP_FREE = 96 * MIB, 16 * MIB
RECORDS = MIB
"""Changes are recorded in what stays free: some KB each."""
UPLOADS = Rule(Stall(), "POST", "^/(files|batch)")
NOTES = {f"note {number}": random.Random(number).randbytes(100_000) for number in range(20)}


@pytest.fixture
def source(place: Home) -> Path:
    """More than fits."""
    path = place.folder / "source"
    path.write_bytes(random.Random(99).randbytes(DISK))
    return path


@pytest.fixture
def disk(place: Home) -> Iterator[LoopDisk]:
    with loop_disk(place.folder, DISK) as made:
        yield made


@pytest.fixture
def portal(disk: LoopDisk, tmp_path: Path) -> Iterator[Site]:
    """On another disk."""
    with site(tmp_path) as made:
        yield made


def mount(portal: Site, place: Home, disk: LoopDisk, options: str = f"keep_free={KEEP_FREE}") -> None:
    portal.mount(place, f"state={disk.path}/state,timeout=5s,{options}")


def copy(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["dd", f"if={source}", f"of={target}", "bs=1M", "status=none"],
        check=False, capture_output=True, text=True, timeout=300, env=os.environ | {"LC_ALL": "C"},
    )  # fmt: skip


def refused_with(number: int, path: Path, data: bytes = b"x" * MIB) -> None:
    """Writing `data` into the new file `path` fails with that errno."""
    with pytest.raises(OSError) as refused:
        path.write_bytes(data)
    assert refused.value.errno == number


def write_notes(folder: Path) -> None:
    for name, data in NOTES.items():
        (folder / name).write_bytes(data)


def assert_is_a_drive(folder: Path) -> None:
    """What needs no room goes on as ever."""
    (folder / "empty").touch()
    assert "empty" in os.listdir(folder)
    assert os.statvfs(folder).f_blocks > 0
    for name, data in NOTES.items():
        assert (folder / name).read_bytes() == data


def assert_arrived(portal: Site, elsewhere: Home, expected: dict[str, bytes]) -> None:
    """Another mount, which knows nothing, sees all of it."""
    portal.mount(elsewhere)
    assert {name: (elsewhere.mountpoint / name).read_bytes() for name in expected} == expected
    umount(elsewhere)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_copy_that_does_not_fit_is_told_and_nothing_else_suffers(
    portal: Site, place: Home, other: Home, disk: LoopDisk, source: Path
) -> None:
    mount(portal, place, disk)
    os.listdir(place.mountpoint)
    portal.proxy.shut()
    with disk.watched() as least:
        write_notes(place.mountpoint)
        copied = copy(source, place.mountpoint / "large")
        assert copied.returncode == 1
        assert "No space left on device" in copied.stderr
        refused_with(errno.ENOSPC, place.mountpoint / "another")
        assert_is_a_drive(place.mountpoint)
    assert KEEP_FREE - RECORDS <= least[0] < KEEP_FREE + MIB

    kept = (place.mountpoint / "large").stat().st_size
    assert DISK // 2 < kept < DISK - KEEP_FREE
    portal.heal()
    assert place.run("bitcasafs", "sync", place.mountpoint, timeout=120).returncode == 0
    assert disk.free_bytes > DISK // 2
    (place.mountpoint / "afterwards").write_bytes(b"room again" * MIB)
    umount(place)
    large = source.read_bytes()[:kept]
    assert_arrived(portal, other, NOTES | {"large": large, "afterwards": b"room again" * MIB, "another": b""})


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_many_files_fill_the_disk_and_the_mount_is_killed_there(
    portal: Site, place: Home, other: Home, disk: LoopDisk
) -> None:
    """`acknowledged`: what a program was told is written."""
    mount(portal, place, disk)
    portal.proxy.script = Script([UPLOADS])
    acknowledged: dict[str, bytes] = {}
    with disk.watched() as least:
        with pytest.raises(OSError) as refused:
            for number in range(DISK // MIB):
                data = random.Random(number).randbytes(MIB + number)
                (place.mountpoint / f"file {number}").write_bytes(data)
                acknowledged[f"file {number}"] = data
        assert refused.value.errno == errno.ENOSPC
        assert len(acknowledged) > (DISK - KEEP_FREE) // MIB // 2
        end_process(place.status()[0]["pid"], signal.SIGKILL)
        portal.heal()
        portal.proxy.script = Script([UPLOADS])
        mount(portal, place, disk)
        for name, data in acknowledged.items():
            assert (place.mountpoint / name).read_bytes() == data
        refused_with(errno.ENOSPC, place.mountpoint / "another")
    assert KEEP_FREE - RECORDS <= least[0] < KEEP_FREE + MIB
    portal.heal()
    umount(place)
    assert_arrived(portal, other, acknowledged)


def test_a_disk_that_others_have_filled_refuses_content_and_nothing_that_is_smaller(
    portal: Site, place: Home, other: Home, disk: LoopDisk
) -> None:
    mount(portal, place, disk)
    write_notes(place.mountpoint)
    assert place.run("bitcasafs", "sync", place.mountpoint).returncode == 0
    others = disk.path / "of others"
    subprocess.run(["fallocate", "-l", str(disk.free_bytes - KEEP_FREE // 2), others], check=True, timeout=60)
    refused_with(errno.ENOSPC, place.mountpoint / "letter")
    (place.mountpoint / "folder").mkdir()
    (place.mountpoint / "note 0").rename(place.mountpoint / "folder" / "note 0")
    (place.mountpoint / "note 1").chmod(0o600)
    (place.mountpoint / "note 2").unlink()
    others.unlink()
    (place.mountpoint / "letter").write_bytes(b"x" * MIB)
    umount(place)
    rest = {name: data for name, data in NOTES.items() if name not in ("note 0", "note 2")}
    assert_arrived(portal, other, rest | {"folder/note 0": NOTES["note 0"], "letter": b"x" * MIB})


def test_a_staging_folder_that_is_read_only_is_told_and_serves_again_when_it_is_not(
    portal: Site, place: Home, other: Home, disk: LoopDisk, tmp_path: Path
) -> None:
    mount(portal, place, disk)
    umount(place)
    [staged] = (disk.path / "state").glob("accounts/*/staged")
    (tmp_path / "staging").mkdir()
    with loop_disk(tmp_path / "staging", 64 * MIB, staged) as staging:
        mount(portal, place, disk, "keep_free=0")
        write_notes(place.mountpoint)
        assert place.run("bitcasafs", "sync", place.mountpoint).returncode == 0
        staging.make_read_only()  # no file there is open
        refused_with(errno.EROFS, place.mountpoint / "letter")
        refused_with(errno.EROFS, place.mountpoint / "note 0")
        (place.mountpoint / "folder").mkdir()
        (place.mountpoint / "note 1").rename(place.mountpoint / "folder" / "note 1")
        for name, data in NOTES.items():
            where = "folder" if name == "note 1" else ""
            assert (place.mountpoint / where / name).read_bytes() == data
        staging.make_writable()
        (place.mountpoint / "letter").write_bytes(b"dear reader")
        (place.mountpoint / "note 0").write_bytes(b"note")
        [status] = place.status()
        assert (status["kernel_faults"], status["problem_count"]) == (0, 0)
        umount(place)
    assert_arrived(portal, other, {"letter": b"dear reader", "note 0": b"note", "folder/note 1": NOTES["note 1"]})


def test_what_waits_in_a_staging_folder_that_is_read_only_is_sent_when_it_is_not(
    portal: Site, place: Home, other: Home, disk: LoopDisk, tmp_path: Path
) -> None:
    mount(portal, place, disk)
    umount(place)
    [staged] = (disk.path / "state").glob("accounts/*/staged")
    (tmp_path / "staging").mkdir()
    with loop_disk(tmp_path / "staging", 64 * MIB, staged) as staging:
        mount(portal, place, disk, "keep_free=0")
        os.listdir(place.mountpoint)
        portal.proxy.shut()
        write_notes(place.mountpoint)
        end_process(place.status()[0]["pid"], signal.SIGKILL)
        staging.make_read_only()
        portal.heal()
        mount(portal, place, disk, "keep_free=0")
        [status] = place.status()
        refused_with(errno.EROFS, place.mountpoint / "letter")
        wait_until(lambda: place.status()[0]["failed_attempts"] > 0, "it was tried to send them")
        assert place.status()[0]["pid"] == status["pid"]
        staging.make_writable()
        umount(place)
    assert_arrived(portal, other, NOTES)
