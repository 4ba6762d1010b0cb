"""The contract of `Remote`: changes of names and attributes."""

from __future__ import annotations

import pytest

from bitcasafs.errors import (
    BitcasaError,
    Exists,
    IsFolder,
    Loop,
    NotEmpty,
    NotFolder,
    NotFound,
    Unsupported,
    VersionMismatch,
)
from bitcasafs.remote.interface import Remote
from bitcasafs.values.items import Address, AttributeChange, Kind, Version
from bitcasafs.values.operations import (
    Delete,
    Mkdir,
    Move,
    Place,
    Put,
    SetAttributes,
    Symlink,
)
from tests.contracts.remote_fixtures import (
    EXCHANGE,
    FAIL,
    MERGE,
    OVERWRITE,
    RemoteFixtures,
    done,
    folder,
)
from tests.support.contents import BytesSource, fetched, listed, stored


class ChangingContract(RemoteFixtures):
    async def test_making_a_folder_twice(self, remote: Remote, home: Address) -> None:
        made = await folder(remote, home, "folder")
        await stored(remote, made.address, "inside", b"")
        with pytest.raises(Exists):
            await folder(remote, home, "folder")
        merged = await done(remote, Mkdir(home, "folder", MERGE))
        assert merged is not None
        assert merged.path == made.path
        assert set(await listed(remote, made.address)) == {"inside"}

    async def test_a_folder_cannot_have_the_name_of_a_file(self, remote: Remote, home: Address) -> None:
        await stored(remote, home, "file", b"")
        for exists in (FAIL, MERGE):
            with pytest.raises(Exists):
                await done(remote, Mkdir(home, "file", exists))

    async def test_a_folder_in_nothing_is_refused(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"")
        with pytest.raises(NotFound):
            await folder(remote, home.child("absent"), "folder")
        with pytest.raises(NotFolder):
            await folder(remote, Address(file.path), "folder")

    async def test_deleting(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"x")
        empty = await folder(remote, home, "empty")
        assert await done(remote, Delete(file.address)) is None
        assert await done(remote, Delete(empty.address)) is None
        assert await listed(remote, home) == {}
        for gone in (file, empty):
            with pytest.raises(NotFound):
                await done(remote, Delete(gone.address))
            with pytest.raises(NotFound):
                await done(remote, Delete(Place(home, gone.name)))

    async def test_a_folder_with_items_is_deleted_only_on_demand(self, remote: Remote, home: Address) -> None:
        full = await folder(remote, home, "full")
        below = await folder(remote, full.address, "below")
        await stored(remote, below.address, "file", b"x")
        with pytest.raises(NotEmpty):
            await done(remote, Delete(full.address))
        assert set(await listed(remote, full.address)) == {"below"}
        await done(remote, Delete(full.address, recursive=True))
        assert await listed(remote, home) == {}

    async def test_a_changed_file_is_not_deleted(self, remote: Remote, home: Address) -> None:
        old = await stored(remote, home, "file", b"old")
        new = await stored(remote, home, "file", b"new!", OVERWRITE)
        with pytest.raises(VersionMismatch):
            await done(remote, Delete(Place(home, "file"), if_match=old.version))
        assert set(await listed(remote, home)) == {"file"}
        await done(remote, Delete(Place(home, "file"), if_match=new.version))
        assert await listed(remote, home) == {}

    async def test_renaming_and_moving(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"content")
        target = await folder(remote, home, "target")
        renamed = await done(remote, Move(file.address, home, "renamed.txt"))
        assert renamed is not None
        assert (renamed.name, renamed.path) == ("renamed.txt", f"{home.path}/renamed.txt")
        moved = await done(remote, Move(Place(home, "renamed.txt"), target.address, "moved ü.txt"))
        assert moved is not None
        assert moved.path == f"{target.path}/moved ü.txt"
        assert set(await listed(remote, home)) == {"target"}
        assert await fetched(remote, (await listed(remote, target.address))["moved ü.txt"]) == b"content"
        if remote.capabilities.versions:
            assert moved.node == file.node
            assert moved.version == file.version

    async def test_a_folder_moves_with_what_is_below(self, remote: Remote, home: Address) -> None:
        a = await folder(remote, home, "a")
        await stored(remote, a.address, "file", b"content")
        b = await folder(remote, home, "b")
        moved = await done(remote, Move(a.address, b.address, "c"))
        assert moved is not None
        assert moved.path == f"{b.path}/c"
        assert set(await listed(remote, Address(f"{b.path}/c"))) == {"file"}
        with pytest.raises(NotFound):
            await remote.list(Address(a.path))

    async def test_moving_what_or_where_nothing_is(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"")
        with pytest.raises(NotFound):
            await done(remote, Move(Place(home, "absent"), home, "name"))
        with pytest.raises(NotFound):
            await done(remote, Move(file.address, home.child("absent"), "name"))
        with pytest.raises(NotFolder):
            await done(remote, Move((await folder(remote, home, "x")).address, Address(file.path), "name"))
        assert set(await listed(remote, home)) == {"file", "x"}

    async def test_moving_onto_itself_changes_nothing(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"x")
        item = await done(remote, Move(file.address, home, "file"))
        assert item is not None
        assert item.path == file.path
        assert set(await listed(remote, home)) == {"file"}

    async def test_a_folder_cannot_move_into_itself(self, remote: Remote, home: Address) -> None:
        a = await folder(remote, home, "a")
        b = await folder(remote, a.address, "b")
        with pytest.raises(Loop):
            await done(remote, Move(a.address, b.address, "c"))
        assert set(await listed(remote, a.address)) == {"b"}

    async def test_moving_onto_a_name_that_is_taken(self, remote: Remote, home: Address) -> None:
        file, other = await stored(remote, home, "file", b"1"), await stored(remote, home, "other", b"22")
        empty, full = await folder(remote, home, "empty"), await folder(remote, home, "full")
        await stored(remote, full.address, "inside", b"")
        for source in (file, empty):
            for name in ("other", "full"):
                with pytest.raises(Exists):
                    await done(remote, Move(source.address, home, name))
        with pytest.raises(IsFolder):
            await done(remote, Move(file.address, home, "empty", OVERWRITE))
        with pytest.raises(NotFolder):
            await done(remote, Move(empty.address, home, "file", OVERWRITE))
        with pytest.raises(NotEmpty):
            await done(remote, Move(empty.address, home, "full", OVERWRITE))
        assert set(await listed(remote, home)) == {"file", "other", "empty", "full"}
        with pytest.raises(VersionMismatch):
            await done(remote, Move(file.address, home, "other", OVERWRITE, if_match_target=Version("wrong")))
        with pytest.raises(VersionMismatch):
            await done(remote, Move(file.address, home, "other", OVERWRITE, if_match=Version("wrong")))
        await done(remote, Move(file.address, home, "other", OVERWRITE, file.version, other.version))
        await done(remote, Move(full.address, home, "empty", OVERWRITE))
        items = await listed(remote, home)
        assert set(items) == {"other", "empty"}
        assert await fetched(remote, items["other"]) == b"1"
        assert set(await listed(remote, items["empty"].address)) == {"inside"}

    async def test_two_names_are_exchanged(self, remote: Remote, home: Address) -> None:
        a, b = await stored(remote, home, "a", b"1"), await folder(remote, home, "b")
        exchange = Move(a.address, home, "b", EXCHANGE)
        if not remote.capabilities.batch:
            with pytest.raises(Unsupported):
                await done(remote, exchange)
            return
        await done(remote, exchange)
        items = await listed(remote, home)
        assert (items["a"].node, items["b"].node) == (b.node, a.node)

    async def test_the_roots_stay_as_they_are(self, remote: Remote, home: Address) -> None:
        (drive, *_) = (await remote.roots()).items
        with pytest.raises(BitcasaError):
            await done(remote, Delete(drive.address, recursive=True))
        with pytest.raises(BitcasaError):
            await done(remote, Move(drive.address, home, "drive"))
        assert (await remote.roots()).items[0].path == drive.path

    async def test_attributes_are_merged(self, remote: Remote, home: Address) -> None:
        file = await stored(remote, home, "file", b"x")
        set_mode = SetAttributes(file.address, AttributeChange({"mode": 0o600, "uid": 7}, xattrs={"user.a": b"1"}))
        if not remote.capabilities.attributes:
            with pytest.raises(Unsupported):
                await done(remote, set_mode)
            return
        item = await done(remote, set_mode)
        assert item is not None
        assert (item.attributes.mode, item.attributes.uid) == (0o600, 7)
        assert item.version == file.version
        assert item.revision is not None
        item = await done(
            remote,
            SetAttributes(
                file.address,
                AttributeChange({"gid": 8}, frozenset({"uid"}), {"user.a": None, "user.b": b"2"}),
                item.revision,
            ),
        )
        assert item is not None
        attributes = item.attributes
        assert (attributes.mode, attributes.uid, attributes.gid) == (0o600, None, 8)
        assert attributes.xattrs == {"user.b": b"2"}
        with pytest.raises(VersionMismatch):
            await done(remote, SetAttributes(file.address, AttributeChange({"gid": 9}), file.revision))

    async def test_a_symlink_is_kept(self, remote: Remote, home: Address) -> None:
        if not remote.capabilities.attributes:
            with pytest.raises(Unsupported):
                await done(remote, Symlink(home, "link", "../target ü"))
            return
        await done(remote, Symlink(home, "link", "../target ü"))
        link = (await listed(remote, home))["link"]
        assert link.kind is Kind.SYMLINK
        assert link.attributes.symlink == "../target ü"
        assert link.size_bytes == 0
        with pytest.raises(Exists):
            await done(remote, Symlink(home, "link", "other"))
        item = await done(remote, Symlink(home, "link", "other", OVERWRITE))
        assert item is not None
        assert item.attributes.symlink == "other"
        item = await stored(remote, home, "link", b"a file now", OVERWRITE)
        assert item.kind is Kind.FILE

    async def test_a_folder_has_the_mtime_it_is_given(self, remote: Remote, home: Address) -> None:
        if not remote.capabilities.attributes:
            return
        made = await folder(remote, home, "folder")
        mtime_ns = 1_000_000_000_123_456_789
        await done(remote, Mkdir(made.address, "inner", parent_mtime_ns=mtime_ns))
        assert (await listed(remote, home))["folder"].attributes.mtime_ns == mtime_ns
        await done(remote, Put(made.address, "x", 1), BytesSource(b"x"))
        assert (await listed(remote, home))["folder"].attributes.mtime_ns == mtime_ns
