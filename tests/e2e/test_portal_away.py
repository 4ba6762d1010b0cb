"""A portal that is away for a while, a machine that sleeps, a mount that begins without a network: whoever works with
what is known here notices nothing, and everything is sent when the portal is back, without a restart."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

import pytest

from tests.support.faults import Rule, Script, Stall
from tests.support.mounted import Home
from tests.support.sites import Site, slow_on_historical, umount
from tests.support.trees import assert_same, look

MIB = 1024 * 1024
AT_ONCE_SECONDS = 1.0
SLEEP_SECONDS = 60.0
CONTENT = Random(1).randbytes(300_000)


@pytest.fixture(autouse=True)
def _well_again(portal: Site) -> Iterator[None]:
    yield
    portal.heal()


def sync(place: Home) -> None:
    done = place.run("bitcasafs", "sync", place.mountpoint, timeout=200)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def goes_away(portal: Site, how: str) -> None:
    """`refused`: nobody is there. `silent`: somebody is, and says nothing."""
    if how == "refused":
        portal.proxy.shut()
    else:
        portal.proxy.script = Script([Rule(Stall())])


@contextlib.contextmanager
def program(*argv: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Beside the test, which may end before it."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


# --- what a person does meanwhile -------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """What is known before the portal goes away."""
    (folder / "papers" / "old").mkdir(parents=True)
    (folder / "papers" / "empty").mkdir()
    for name in ("letter.txt", "notes.txt", "photo.jpg", "papers/one", "papers/two", "papers/old/three"):
        (folder / name).write_bytes(CONTENT + name.encode())


def know(folder: Path) -> Mapping[str, object]:
    """List and read everything."""
    return look(folder, attributes=False)


def _save(path: Path, data: bytes) -> None:
    aside = path.with_name(path.name + "~")
    with aside.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    aside.replace(path)


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"and a line\n")


def _patch(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"in the middle")


def _read(path: Path, name: str) -> None:
    assert path.read_bytes() == CONTENT + name.encode()


def acts(root: Path) -> dict[str, Callable[[], object]]:
    """Each done once, in this order."""
    papers, new = root / "papers", root / "new"
    return {
        "ls": lambda: os.listdir(root),
        "ls of a folder": lambda: os.listdir(papers),
        "stat": (root / "letter.txt").stat,
        "stat of a name that is not there": (root / "nothing").exists,
        "df": lambda: os.statvfs(root),
        "read of known content": lambda: _read(root / "letter.txt", "letter.txt"),
        "create, write, close": lambda: (root / "written").write_bytes(CONTENT),
        "mkdir": new.mkdir,
        "create in the new folder": lambda: (new / "inside").write_bytes(CONTENT),
        "mkdir in the new folder": (new / "deeper").mkdir,
        "rename of a new file": lambda: (new / "inside").rename(new / "deeper" / "inside"),
        "rename": lambda: (root / "notes.txt").rename(papers / "notes.txt"),
        "rename over a file": lambda: (papers / "one").replace(papers / "two"),
        "rename of a folder": lambda: (papers / "old").rename(new / "old"),
        "rename back and forth": lambda: papers.rename(root / "p").rename(papers),
        "overwrite": lambda: (papers / "two").write_bytes(b"new content"),
        "save by rename": lambda: _save(root / "letter.txt", b"a new letter"),
        "append": lambda: _append(papers / "notes.txt"),
        "patch": lambda: _patch(new / "old" / "three"),
        "truncate": lambda: os.truncate(root / "written", 100),
        "unlink": (root / "photo.jpg").unlink,
        "create what was unlinked": lambda: (root / "photo.jpg").write_bytes(b"another photo"),
        "create and unlink": lambda: ((root / "short lived").write_bytes(b"x"), (root / "short lived").unlink()),
        "rmdir": (papers / "empty").rmdir,
        "chmod": lambda: (papers / "two").chmod(0o600),
        "utime": lambda: os.utime(root / "written", ns=(10**18, 10**18)),
        "symlink": lambda: (root / "link").symlink_to("papers/two"),
        "ls again": lambda: os.listdir(root),
        "read of what was written": (papers / "two").read_bytes,
    }


def do_all(root: Path) -> dict[str, float]:
    """Seconds of each act."""
    took = {}
    for name, act in acts(root).items():
        began = time.monotonic()
        try:
            act()
        except OSError as error:
            error.add_note(f"at {name!r}, after {time.monotonic() - began:.1f} s")
            raise
        took[name] = time.monotonic() - began
    return took


def assert_at_once(took: Mapping[str, float]) -> None:
    assert {name: seconds for name, seconds in took.items() if seconds > AT_ONCE_SECONDS} == {}


def assert_sent(portal: Site, place: Home, elsewhere: Home, name: str) -> None:
    """The portal is back: what both see is what a local folder holds in which the same was done."""
    local = place.folder / "local"
    local.mkdir()
    prepare(local)
    do_all(local)
    sync(place)
    assert place.status()[0]["problem_count"] == 0
    assert_same(look(local, attributes=False), look(place.mountpoint / name, attributes=False))
    assert (place.mountpoint / name / "papers" / "two").stat().st_mode & 0o7777 == 0o600
    assert (place.mountpoint / name / "written").stat().st_mtime_ns == 10**18
    portal.mount(elsewhere)
    if portal.historical:  # which has no links: others see an empty file
        (local / "link").unlink()
        (local / "link").touch()
    assert_same(look(local, attributes=False), look(elsewhere.mountpoint / name, attributes=False))
    umount(elsewhere)
    umount(place)


@pytest.fixture
def name(portal: Site, place: Home, request: pytest.FixtureRequest) -> str:
    """Of a folder of the drive that is filled, and that this machine has not looked at since it was mounted."""
    made: str = request.node.name.partition("[")[0] + request.node.callspec.id.replace("-", " ")
    portal.mount(place, "ttl=1s")
    (place.mountpoint / made).mkdir()
    prepare(place.mountpoint / made)
    umount(place)
    return made


# --- the network is lost ----------------------------------------------------------------------------------------------


@pytest.mark.alone  # bounds on time
@slow_on_historical
@pytest.mark.parametrize("how", ["refused", "silent"])
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "expired"])
def test_without_the_portal_everything_known_goes_on_at_once(
    portal: Site, place: Home, other: Home, name: str, how: str, *, fresh: bool
) -> None:
    """`expired`: the listings would be asked for again if anybody could be asked."""
    portal.mount(place, "ttl=60s" if fresh else "ttl=1s")
    know(place.mountpoint / name)
    goes_away(portal, how)
    if not fresh:
        time.sleep(1.5)
    assert_at_once(do_all(place.mountpoint / name))
    portal.heal()
    assert_sent(portal, place, other, name)


# --- no network from the start ----------------------------------------------------------------------------------------


@pytest.mark.alone  # bounds on time
@slow_on_historical
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_drive_that_was_mounted_before_is_there_without_the_portal(
    portal: Site, place: Home, other: Home, name: str, how: str
) -> None:
    portal.mount(place)
    know(place.mountpoint / name)
    umount(place)
    goes_away(portal, how)
    portal.mount(place, "timeout=3s")
    assert_at_once(do_all(place.mountpoint / name))
    portal.heal()
    assert_sent(portal, place, other, name)


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_drive_that_never_was_mounted_here_needs_the_portal(portal: Site, place: Home, how: str) -> None:
    goes_away(portal, how)
    done = place.run("mount", *portal.arguments(place, "timeout=2s"), place.mountpoint)
    assert done.returncode == 32
    [line] = done.stderr.splitlines()
    assert portal.url in line
    assert place.status() == []


# --- a large copy -----------------------------------------------------------------------------------------------------


def large(path: Path, size_bytes: int) -> str:
    """A file of that size, no two pages alike; answers its digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size_bytes // MIB):
            piece = Random(number).randbytes(MIB)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@slow_on_historical
@pytest.mark.timeout(300)
def test_a_portal_that_goes_away_in_the_middle_of_a_large_copy(portal: Site, place: Home, other: Home) -> None:
    copies_while_the_portal_is_away(portal, place, other, 128 * MIB, 5)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("portal", [False], ids=["extended"], indirect=True)
def test_a_portal_that_stays_away_in_the_middle_of_a_very_large_copy(portal: Site, place: Home, other: Home) -> None:
    copies_while_the_portal_is_away(portal, place, other, 512 * MIB, 20)


def copies_while_the_portal_is_away(
    portal: Site, place: Home, other: Home, size_bytes: int, away_seconds: float
) -> None:
    """One half is on its way, the other half is being copied."""
    digest = large(place.folder / "large", size_bytes // 2)
    portal.mount(place)
    folder = place.mountpoint / f"copy of {size_bytes}"
    folder.mkdir()
    before = portal.proxy.log.received_bytes("POST")
    subprocess.run(["cp", place.folder / "large", folder / "first"], check=True, timeout=100)
    with program("cp", place.folder / "large", folder / "second") as copying:
        portal.proxy.log.wait(lambda log: log.received_bytes("POST") - before > size_bytes // 8, 60)
        portal.proxy.shut()
        began = time.monotonic()
        assert copying.wait(timeout=100) == 0
    while time.monotonic() - began < away_seconds:
        (folder / "note").write_bytes(b"%f" % time.monotonic())
        time.sleep(0.5)
    note = (folder / "note").read_bytes()
    portal.proxy.open()
    sync(place)
    umount(place)
    (place.folder / "large").unlink()
    portal.mount(other)
    theirs = other.mountpoint / folder.name
    assert sorted(os.listdir(theirs)) == ["first", "note", "second"]
    assert [digest_of(theirs / name) for name in ("first", "second")] == [digest] * 2
    assert (theirs / "note").read_bytes() == note
    umount(other)


# --- a machine that sleeps --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """As a suspend does: it is not run, and time goes on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("portal", [False], ids=["extended"], indirect=True)
def test_a_mount_that_slept_for_a_minute_goes_on(portal: Site, place: Home, other: Home, name: str) -> None:
    """Somebody reads, a file is on its way, and somebody comes while it sleeps. Only the first may be told that it took
    too long: this clock, unlike that of a machine that sleeps, went on."""
    portal.mount(place)
    folder = place.mountpoint / name
    [status] = place.status()
    portal.proxy.script = Script([Rule(Stall(1.0))])
    (folder / "on its way").write_bytes(CONTENT)
    with program("cat", folder / "letter.txt") as early:
        time.sleep(0.5)
        with stopped(status["pid"]), program("cp", folder / "notes.txt", folder / "copy") as late:
            time.sleep(SLEEP_SECONDS)
            assert late.poll() is None
            os.kill(status["pid"], signal.SIGCONT)
            assert late.communicate(timeout=60) == (b"", b"")
        read, complaint = early.communicate(timeout=60)
    assert read == CONTENT + b"letter.txt" or b"timed out" in complaint
    portal.proxy.script = Script()
    umount(place)
    portal.mount(other)
    assert (other.mountpoint / name / "on its way").read_bytes() == CONTENT
    assert (other.mountpoint / name / "copy").read_bytes() == CONTENT + b"notes.txt"
    umount(other)
