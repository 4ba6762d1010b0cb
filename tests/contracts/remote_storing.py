"""The contract of `Remote`: storing files."""

from __future__ import annotations

import pytest
import trio

from bitcasafs.errors import (
    BitcasaError,
    Exists,
    IsFolder,
    NotFolder,
    NotFound,
    VersionMismatch,
)
from bitcasafs.remote.interface import Remote, ReplaceStep
from bitcasafs.remote.keys import new_key
from bitcasafs.values.items import Address, AttributeChange
from bitcasafs.values.operations import (
    Delete,
    Put,
)
from tests.contracts.remote_fixtures import (
    OVERWRITE,
    RENAME,
    RemoteFixtures,
    done,
    folder,
)
from tests.support.contents import BytesSource, fetched, listed, md5_of, random_bytes, stored


class StoringContract(RemoteFixtures):
    async def test_progress_ends_at_the_size(self, remote: Remote, home: Address) -> None:
        told: list[int] = []
        data = random_bytes(1_000_000)
        await remote.store(Put(home, "file", len(data)), BytesSource(data), progress=told.append)
        assert told == sorted(told)
        assert told[-1] == len(data)

    async def test_a_large_file_comes_back(self, remote: Remote, home: Address) -> None:
        data = random_bytes(20 * 1024 * 1024 + 1)
        told: list[int] = []
        put = Put(home, "large", len(data), md5=md5_of(data))
        item = await remote.store(put, BytesSource(data), progress=told.append)
        assert told[-1] == len(data)
        assert await fetched(remote, item) == data

    async def test_a_source_of_another_size_is_a_mistake(self, remote: Remote, home: Address) -> None:
        with pytest.raises(ValueError, match="bytes"):
            await remote.store(Put(home, "file", 5), BytesSource(b"1234"))

    async def test_a_taken_name_is_refused_and_nothing_changes(self, remote: Remote, home: Address) -> None:
        old = await stored(remote, home, "file.txt", b"old")
        for data in (b"new", b"older", random_bytes(5_000_000)):
            with pytest.raises(Exists):
                await stored(remote, home, "file.txt", data)
        assert await listed(remote, home) == {"file.txt": old}
        await folder(remote, home, "folder")
        with pytest.raises(Exists):
            await stored(remote, home, "folder", b"new")
        assert set(await listed(remote, home)) == {"file.txt", "folder"}

    async def test_a_taken_name_gets_a_number(self, remote: Remote, home: Address) -> None:
        await stored(remote, home, "file.txt", b"one")
        item = await stored(remote, home, "file.txt", b"two", RENAME)
        assert item.name == "file (1).txt"
        assert await fetched(remote, item) == b"two"
        assert set(await listed(remote, home)) == {"file.txt", "file (1).txt"}

    async def test_overwriting_leaves_one_file_with_the_new_bytes(self, remote: Remote, home: Address) -> None:
        for data in (b"first", b"second, longer", b"", random_bytes(100_000)):
            item = await stored(remote, home, "file.txt", data, OVERWRITE)
            assert item.name == "file.txt"
            assert item.path == f"{home.path}/file.txt"
            assert await fetched(remote, item) == data
            assert list(await listed(remote, home)) == ["file.txt"]

    async def test_overwriting_guards_what_it_replaces(self, remote: Remote, home: Address) -> None:
        first = await stored(remote, home, "file", b"first")
        second = await remote.store(Put(home, "file", 6, OVERWRITE, if_match=first.version), BytesSource(b"second"))
        with pytest.raises(VersionMismatch):
            await remote.store(Put(home, "file", 5, OVERWRITE, if_match=first.version), BytesSource(b"third"))
        items = await listed(remote, home)
        assert list(items) == ["file"]
        assert items["file"].version == second.version
        assert await fetched(remote, items["file"]) == b"second"

    async def test_overwriting_what_is_gone_is_a_mismatch(self, remote: Remote, home: Address) -> None:
        item = await stored(remote, home, "file", b"first")
        await done(remote, Delete(item.address))
        with pytest.raises(VersionMismatch):
            await remote.store(Put(home, "file", 3, OVERWRITE, if_match=item.version), BytesSource(b"new"))
        assert await listed(remote, home) == {}

    async def test_a_folder_is_never_overwritten(self, remote: Remote, home: Address) -> None:
        await folder(remote, home, "folder")
        with pytest.raises(IsFolder):
            await stored(remote, home, "folder", b"x", OVERWRITE)
        assert (await listed(remote, home))["folder"].is_folder

    async def test_storing_into_nothing_or_a_file_is_refused(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"")
        with pytest.raises(NotFound):
            await stored(remote, home.child("absent"), "name", b"x")
        with pytest.raises(NotFolder):
            await stored(remote, Address(file.path), "name", b"x")

    async def test_replacing_tells_its_steps_and_goes_on_from_each(self, remote: Remote, home: Address) -> None:
        """A crash after any step: whoever has the newest step ends with the new bytes under the name."""
        if remote.capabilities.batch:
            return
        told: list[ReplaceStep] = []
        data = b"new bytes"
        for stop_after in range(4):
            name = f"file {stop_after}"
            old = await stored(remote, home, name, b"old")
            put = Put(home, name, len(data), OVERWRITE, if_match=old.version, key=new_key())
            told.clear()

            class Crash(Exception):
                pass

            def on_step(step: ReplaceStep, crash: type[Exception] = Crash, limit: int = stop_after) -> None:
                told.append(step)
                if len(told) == limit:
                    raise crash

            try:
                await remote.store(put, BytesSource(data), on_step=on_step)
            except Crash:
                await remote.store(put, BytesSource(data), resume=told[-1], on_step=told.append)
            assert told[-1].uploaded
            assert told[-1].deleted
            items = await listed(remote, home)
            assert await fetched(remote, items[name]) == data
        assert set(items) == {f"file {number}" for number in range(4)}

    async def test_a_wrong_md5_is_refused(self, remote: Remote, home: Address) -> None:
        if not remote.capabilities.batch:
            return
        with pytest.raises(BitcasaError):
            await remote.store(Put(home, "file", 3, md5=md5_of(b"other")), BytesSource(b"abc"))
        assert await listed(remote, home) == {}

    async def test_attributes_come_with_the_file(self, remote: Remote, home: Address) -> None:
        if not remote.capabilities.attributes:
            return
        change = AttributeChange({"mode": 0o640, "mtime_ns": 1_234_567_890_123_456_789}, xattrs={"user.a": b"\0\xff"})
        for size_bytes in (3, 17 * 1024 * 1024):
            put = Put(home, f"file {size_bytes}", size_bytes, attributes=change)
            item = await remote.store(put, BytesSource(random_bytes(size_bytes)))
            assert item.attributes.mode == 0o640
            assert item.attributes.mtime_ns == 1_234_567_890_123_456_789
            assert item.attributes.xattrs == {"user.a": b"\0\xff"}
            assert item.mtime_ms == 1_234_567_890_123
            assert (await listed(remote, home))[item.name].attributes == item.attributes

    async def test_a_cancelled_store_leaves_nothing_or_everything(self, remote: Remote, home: Address) -> None:
        data = random_bytes(2_000_000)
        for limit in (0, 1, 500_000, 2_000_000):
            with trio.CancelScope() as scope:

                def progress(sent: int, scope: trio.CancelScope = scope, limit: int = limit) -> None:
                    if sent >= limit:
                        scope.cancel()

                if limit == 0:
                    scope.cancel()
                put = Put(home, f"file {limit}", len(data))
                await remote.store(put, BytesSource(data), progress=progress)
        for item in (await listed(remote, home)).values():
            assert await fetched(remote, item) == data
