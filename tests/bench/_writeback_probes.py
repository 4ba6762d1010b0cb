"""What the kernel's write-back cache changes besides speed: questions, each put to a real mount.

A question uses files of its own and answers in a few words, for a table. Who uses: `writeback`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

from tests.bench._writeback_mount import WritebackMount

TTL_SECONDS = 0.5
"""Of the mounts that are asked."""
OLD_NS = 1_000_000_000_000_000_000
MEBIBYTE = 2**20

Probe = Callable[[WritebackMount], str]


def another_machine_wrote(mount: WritebackMount) -> str:
    """A file that was only read here, and is longer there since."""
    path = mount.mountpoint / "foreign"
    mount.ask("write there", name="foreign", size=5)
    time.sleep(2 * TTL_SECONDS)
    assert len(path.read_bytes()) == 5
    mount.ask("write there", name="foreign", size=50_000)
    time.sleep(2 * TTL_SECONDS)
    return f"stat says {path.stat().st_size:,}, read gives {len(path.read_bytes()):,}"


def two_append(mount: WritebackMount) -> str:
    """Logs: each line is synced."""
    path = mount.mountpoint / "log"
    first, second = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(2))
    for number in range(10):
        descriptor = (first, second)[number % 2]
        os.write(descriptor, b"line %d\n" % number)
        os.fsync(descriptor)
    os.close(first)
    os.close(second)
    mount.ask("drained")
    expected = b"".join(b"line %d\n" % number for number in range(10))
    found = mount.ask("look there", name="log")["size"]
    return "as it should be" if found == len(expected) else f"{found} bytes instead of {len(expected)}"


def disk_full(mount: WritebackMount) -> str:
    """Which call tells the program."""
    descriptor = os.open(mount.mountpoint / "full", os.O_WRONLY | os.O_CREAT)
    mount.ask("full", full=True)
    told = []
    calls = (("write", lambda: os.write(descriptor, b"x" * 4096)), ("close", lambda: os.close(descriptor)))
    for name, call in calls:
        try:
            call()
        except OSError as error:
            told.append(f"{name}: {errno.errorcode[error.errno or 0]}")
    mount.ask("full", full=False)
    return ", ".join(told) or "nobody"


def written_not_closed(mount: WritebackMount) -> str:
    """What the mount has, and could give back after a crash, of what write(2) has taken."""
    before = mount.requests()["write"]
    descriptor = os.open(mount.mountpoint / "growing", os.O_WRONLY | os.O_CREAT)
    for _ in range(16):
        os.write(descriptor, b"x" * 65536)
    found = mount.requests()["write"] - before
    os.close(descriptor)
    return "all of it" if found == 16 else f"{found} writes of 16"


def part_of_a_page(mount: WritebackMount) -> str:
    """100 bytes into a file that is only on the portal, through a descriptor for writing only."""
    mount.ask("write there", name="base", size=MEBIBYTE)
    time.sleep(2 * TTL_SECONDS)
    before = mount.requests()["read"]
    descriptor = os.open(mount.mountpoint / "base", os.O_WRONLY)
    try:
        os.pwrite(descriptor, b"y" * 100, 500_000)
        said = "written"
    except OSError as error:
        said = errno.errorcode[error.errno or 0]
    waited = mount.requests()["read"] - before
    os.close(descriptor)
    return f"{said}, after {waited} reads from the portal" if waited else f"{said}, at once"


def times_of_a_copy(mount: WritebackMount) -> str:
    """cp -p sets them before the close, tar after it."""
    kept = []
    for name, early in (("copied", True), ("unpacked", False)):
        path = mount.mountpoint / name
        with path.open("wb") as file:
            file.write(b"x" * 1000)
            if early:
                file.flush()
                os.utime(file.fileno(), ns=(OLD_NS, OLD_NS))
        if not early:
            os.utime(path, ns=(OLD_NS, OLD_NS))
        mount.ask("drained")
        time.sleep(2 * TTL_SECONDS)
        told = {path.stat().st_mtime_ns, mount.ask("look there", name=name)["mtime_ns"]}
        kept.append("kept" if told == {OLD_NS} else "lost")
    return f"cp -p: {kept[0]}, tar: {kept[1]}"


def one_small_file(mount: WritebackMount) -> str:
    """`echo > file` until it is on the portal."""
    before, sent = mount.requests(), mount.ask("sent")
    (mount.mountpoint / "small").write_bytes(b"hello\n")
    mount.ask("drained")
    asked = mount.requests() - before
    changes = mount.ask("sent") - sent
    return f"{asked['setattr']} setattr, {asked['write']} write, {changes} sent"


def probes() -> dict[str, Probe]:
    return {
        "another machine made it 50,000 bytes long": another_machine_wrote,
        "two programs append to a log in turn": two_append,
        "the disk is full: who is told": disk_full,
        "1 MiB written, not closed: the mount has": written_not_closed,
        "100 bytes into what is on the portal only": part_of_a_page,
        "times that a program set": times_of_a_copy,
        "requests of `echo > file`, and changes sent": one_small_file,
    }


def answer(probe: Probe, mount: WritebackMount) -> str:
    """In a few words; a failure is an answer as well."""
    try:
        return probe(mount)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
