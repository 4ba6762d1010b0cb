"""`-o local=`: litter that is seen here, outlives the mount, and is never sent."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bitcasafs.errors import CrossDevice
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from tests.support.machine import machine

GLOBS = (".~lock.*#", ".Trash-*")


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote(MemoryDrive())


async def test_what_matches_and_what_is_in_it_is_seen_here_and_never_sent(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one", local=GLOBS) as one, machine(remote, tmp_path / "two") as two:
        await one.write("/.~lock.letter.odt#", b"me")
        await one.mkdir("/.Trash-0")
        await one.mkdir("/.Trash-0/files")
        await one.write("/.Trash-0/files/old", b"old")
        await one.write("/letter.odt", b"letter")
        await one.drained()
        await trio.sleep(100)
        assert await two.tree() == {"/letter.odt": b"letter"}
        assert one.fs.outbox.statistics().pending == 0
        number = (await one.find("/.~lock.letter.odt#")).number
        assert await one.fs.attributes.get_xattr(number, "user.bitcasafs.state") == b"local"
    wanted = {
        "/.~lock.letter.odt#": b"me",
        "/.Trash-0": None,
        "/.Trash-0/files": None,
        "/.Trash-0/files/old": b"old",
        "/letter.odt": b"letter",
    }
    async with machine(remote, tmp_path / "one", local=GLOBS) as one:
        assert await one.tree() == wanted
        await one.write("/.Trash-0/files/old", b"changed")
        await one.drained()
        assert await one.read("/.Trash-0/files/old") == b"changed"
        await one.unlink("/.Trash-0/files/old")
        await one.rmdir("/.Trash-0/files")
        await one.rmdir("/.Trash-0")
        await one.unlink("/.~lock.letter.odt#")
        assert await one.tree() == {"/letter.odt": b"letter"}
        assert len(one.fs.outbox) == 0
        assert list((tmp_path / "one" / "staged").iterdir()) == []


async def test_a_file_that_gets_a_name_of_its_own_is_sent_and_one_that_loses_it_before_is_not(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path / "one", local=GLOBS) as one, machine(remote, tmp_path / "two") as two:
        await one.write("/.~lock.a#", b"a")
        await one.rename("/.~lock.a#", "/a")
        await one.drained()
        assert await two.tree() == {"/a": b"a"}
    async with machine(remote, tmp_path / "three", sending=False, local=GLOBS) as three:
        await three.write("/b", b"b")
        await three.rename("/b", "/.~lock.b#")
        assert three.fs.outbox.statistics().pending == 0


async def test_what_is_on_the_portal_is_copied_and_not_renamed_into_what_stays_here(
    remote: MemoryRemote, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with machine(remote, tmp_path, local=GLOBS) as one:
        await one.write("/a", b"a")
        await one.mkdir("/.Trash-0")
        await one.mkdir("/d")
        await one.drained()
        for old, new in (("/a", "/.Trash-0/a"), ("/d", "/.Trash-0/d"), ("/.Trash-0", "/trash")):
            with pytest.raises(CrossDevice):
                await one.rename(old, new)
        assert await one.names() == [".Trash-0", "a", "d"]
