"""The contract of `Remote`: what is told, and the bytes that are fetched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitcasafs.errors import (
    BitcasaError,
    NameInvalid,
    NotFolder,
    NotFound,
    RangeInvalid,
)
from bitcasafs.remote.interface import Remote
from bitcasafs.values.items import Address, Kind, RootKind, Version
from bitcasafs.values.operations import (
    Mkdir,
)
from tests.contracts.remote_fixtures import (
    OVERWRITE,
    RemoteFixtures,
    done,
    folder,
)
from tests.support.contents import content_of, fetched, listed, md5_of, random_bytes, stored

ODD_NAMES = (
    "with blanks and (brackets)",
    "per%20cent %",
    "q?u#e&r+y=;,",
    "quotes \"double\" 'single' \\back",
    "Grüße 日本語 🎵",
    "e\u0301 decomposed",
    "line\nbreak\ttab",
    ".hidden",
    "-dash",
    "ü" * 127 + "x",
)


class ReadingContract(RemoteFixtures):
    async def test_the_drive_is_the_first_root(self, remote: Remote) -> None:
        drive, *mirrors = (await remote.roots()).items
        assert drive.root is RootKind.DRIVE
        assert drive.is_folder
        assert not drive.mirrored
        assert all(mirror.root is not RootKind.DRIVE for mirror in mirrors)
        assert (await remote.list(Address("/"))).items[0].path == drive.path

    async def test_connecting_twice_is_connecting_once(self, remote: Remote) -> None:
        assert await remote.connect() == await remote.connect() == remote.capabilities

    async def test_the_profile_counts_what_is_stored(self, remote: Remote, home: Address) -> None:
        before = await remote.profile()
        await stored(remote, home, "file", b"x" * 1000)
        after = await remote.profile()
        assert after.used_bytes == before.used_bytes + 1000
        if remote.capabilities.quota:
            assert before.files is not None
            assert after.files == before.files + 1

    async def test_a_listing_tells_what_was_stored(self, remote: Remote, home: Address) -> None:
        assert await listed(remote, home) == {}
        made = await folder(remote, home, "folder")
        file = await stored(remote, home, "file.txt", b"hello")
        items = await listed(remote, home)
        assert set(items) == {"folder", "file.txt"}
        assert items["folder"].kind is Kind.FOLDER
        assert items["folder"].path == made.path == f"{home.path}/folder"
        assert items["file.txt"].kind is Kind.FILE
        assert items["file.txt"].size_bytes == 5
        assert (items["file.txt"].id, items["file.txt"].version) == (file.id, file.version)
        assert file.version is not None
        if remote.capabilities.versions:
            assert items["file.txt"].node == file.node is not None
            assert items["file.txt"].digests["md5"] == md5_of(b"hello")
            assert (await remote.list(home)).cursor is not None
        else:
            assert items["file.txt"].node is None
            assert (await remote.list(home)).cursor is None

    async def test_listing_nothing_and_listing_a_file(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"")
        with pytest.raises(NotFound):
            await remote.list(home.child("absent"))
        with pytest.raises(NotFolder):
            await remote.list(Address(file.path))
        with pytest.raises(NotFolder):
            await remote.list(file.address)

    async def test_any_valid_name_comes_back_as_it_was_given(self, remote: Remote, home: Address) -> None:
        for name in ODD_NAMES:
            await stored(remote, home, name, name.encode())
        items = await listed(remote, home)
        assert set(items) == set(ODD_NAMES)
        for name, item in items.items():
            assert await fetched(remote, item) == name.encode()
        below = await folder(remote, home, "in % ü?")
        assert set(await listed(remote, Address(below.path))) == set()

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256, "ü" * 128])
    async def test_an_invalid_name_is_refused(self, remote: Remote, home: Address, name: str) -> None:
        with pytest.raises(NameInvalid):
            await stored(remote, home, name, b"x")
        with pytest.raises(NameInvalid):
            await done(remote, Mkdir(home, name))
        assert await listed(remote, home) == {}

    async def test_ranges_are_the_bytes_asked_for(self, remote: Remote, home: Address) -> None:
        data = random_bytes(700_000)
        item = await stored(remote, home, "file", data)
        for start, stop in ((0, 700_000), (0, 1), (699_999, 700_000), (1, 400_000), (300_000, 300_001), (5, 5)):
            assert await fetched(remote, item, start, stop) == data[start:stop]

    async def test_an_empty_file_is_empty(self, remote: Remote, home: Address) -> None:
        item = await stored(remote, home, "empty", b"")
        assert item.size_bytes == 0
        assert await fetched(remote, item) == b""

    async def test_bytes_past_the_end_are_refused(self, remote: Remote, home: Address) -> None:
        item = await stored(remote, home, "file", b"12345")
        with pytest.raises(RangeInvalid):
            await fetched(remote, item, 3, 6)

    async def test_a_content_that_never_was_is_not_found(self, remote: Remote, home: Address) -> None:
        item = await stored(remote, home, "file", b"12345")
        strange = replace(item, id="A" * 86 + "==", version=Version("never"))
        with pytest.raises(BitcasaError):
            await fetched(remote, strange)

    async def test_a_content_of_another_size_is_never_handed_on(self, remote: Remote, home: Address) -> None:
        item = await stored(remote, home, "file", b"12345")
        with pytest.raises(BitcasaError):
            await fetched(remote, replace(item, size_bytes=3), 0, 2)

    async def test_a_sink_may_stop_a_fetch(self, remote: Remote, home: Address) -> None:
        class Enough(Exception):
            pass

        item = await stored(remote, home, "file", random_bytes(3_000_000))

        def sink(offset: int, data: bytes) -> None:
            raise Enough

        with pytest.raises(Enough):
            await remote.fetch(content_of(item), 0, item.size_bytes, sink)
        assert len(await fetched(remote, item, 0, 10)) == 10

    async def test_old_content_is_read_by_its_version(self, remote: Remote, home: Address) -> None:
        if not remote.capabilities.versions:
            return
        old = await stored(remote, home, "file", b"old")
        new = await stored(remote, home, "file", b"newer", OVERWRITE)
        assert new.node == old.node
        assert await fetched(remote, old) == b"old"
        assert await fetched(remote, new) == b"newer"

    async def test_names_of_waiting_uploads_are_hidden(self, remote: Remote, home: Address) -> None:
        await stored(remote, home, ".file.0123456789abcdef.upload", b"x")
        assert await listed(remote, home) == {}
