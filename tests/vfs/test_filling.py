"""Holes of partly written files: filled in the background while the version below is there, and never with zeros."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from bitcasafs.errors import BaseGone
from bitcasafs.reading.blocks import Blocks
from bitcasafs.reading.eviction import Limits
from bitcasafs.vfs.entry import Handle
from bitcasafs.vfs.filling import AGAIN_SECONDS, BEGIN_SECONDS, RANGE_BYTES
from bitcasafs.writing.change import State
from bitcasafs.writing.conflicts import is_conflict
from tests.support.machine import Machine, machine
from tests.support.scripted import Gate, ScriptedRemote, away

BASE = b"first generation " * 1000
SIZE = len(BASE)
PATCHED = BASE[:1000] + b"PATCH" + BASE[1005:]


async def patched(one: Machine, remote: ScriptedRemote, base: bytes = BASE) -> Handle:
    """A file on the portal, open here, of which some bytes were written."""
    await one.write("/a", base)
    await one.drained()
    remote.fetched.clear()
    handle = await one.open("/a", os.O_RDWR)
    await one.fs.files.write(handle, 1000, b"PATCH")
    return handle


async def test_the_base_is_fetched_while_the_file_is_open_and_need_not_exist_any_more_when_it_is_sent(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote)
        await trio.sleep(BEGIN_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        assert remote.fetched == [(0, 1000), (1005, SIZE)]
        remote.drive.contents.clear()
        assert await one.fs.files.read(handle, 0, SIZE) == PATCHED
        await one.close(handle)
        await one.drained()
        assert remote.stored == {"a": PATCHED}
        assert len(remote.fetched) == 2


async def test_a_large_base_comes_in_ranges_and_what_is_written_behind_them_is_not_fetched(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote, gate = ScriptedRemote(), Gate()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote, bytes(3 * RANGE_BYTES))
        remote.before_fetch = gate
        await gate.reached.wait()
        await one.fs.files.write(handle, 1005, bytes(2 * RANGE_BYTES))
        gate.open()
        await trio.sleep(1)
        assert remote.fetched == [(0, 1000), (1005 + 2 * RANGE_BYTES, 3 * RANGE_BYTES)]


async def test_a_small_file_that_is_written_as_a_whole_fetches_nothing(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote)
        await one.fs.files.write(handle, 0, bytes(SIZE))
        await trio.sleep(60)
        await one.close(handle)
        await one.drained()
        assert remote.fetched == []
        assert remote.stored == {"a": bytes(SIZE)}


@pytest.mark.parametrize("end", ["unlinked", "cut", "replaced"])
async def test_nothing_is_fetched_for_what_nobody_will_send(
    tmp_path: Path, autojump_clock: trio.abc.Clock, end: str
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote)
        if end == "unlinked":
            await one.unlink("/a")
        elif end == "cut":
            await one.fs.files.resize(one.fs.nodes[(await one.find("/a")).number], 0)
        else:
            await one.write("/b", b"another")
            await one.rename("/b", "/a")
        await trio.sleep(60)
        assert remote.fetched == []
        await one.close(handle)
        await one.drained()


async def test_it_is_tried_again_when_the_network_was_away(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote)
        fetch = remote.fetch
        remote.fetch = lambda *_: failing()  # type: ignore[method-assign,assignment]

        async def failing() -> None:
            raise away()

        await trio.sleep(10 * AGAIN_SECONDS)
        remote.fetch = fetch  # type: ignore[method-assign]
        await trio.sleep(AGAIN_SECONDS)
        assert remote.fetched == [(0, 1000), (1005, SIZE)]
        await one.close(handle)


async def test_a_base_that_is_gone_leaves_a_problem_with_what_was_written_and_no_zeros(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote)
        remote.drive.contents.clear()
        await trio.sleep(60)
        await one.close(handle)
        await one.drained()
        assert [request.data for request in remote.requests] == [BASE]
        [problem] = one.fs.deciding.list()
        assert problem.path == "a"
        assert "no longer to be had" in (problem.reason or "")
        content = one.fs.deciding.content(problem.id)
        assert (content.size_bytes, content.written) == (SIZE, ((1000, 1005),))
        reader = await one.open("/a", os.O_RDONLY)
        assert await one.fs.files.read(reader, 1000, 5) == b"PATCH"
        for offset, size in ((0, 10), (990, 20), (2000, 10)):
            with pytest.raises(BaseGone):
                await one.fs.files.read(reader, offset, size)


async def test_a_base_that_is_gone_is_no_conflict_and_written_as_a_whole_it_is_sent_after_all(
    tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    assert not is_conflict(BaseGone("gone"))
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote)
        remote.drive.contents.clear()
        await one.close(handle)
        await one.drained()
        assert [record.state for record in one.fs.outbox] == [State.PROBLEM]
        await one.write("/a", bytes(SIZE), flags=0)
        await one.drained()
        assert len(one.fs.outbox) == 0
        assert remote.stored == {"a": bytes(SIZE)}


async def test_where_there_is_no_room_nothing_is_kept_and_reading_works(
    tmp_path: Path, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path) as one:
        handle = await patched(one, remote)
        monkeypatch.setattr("bitcasafs.writing.space.Space.refuses", lambda *_: True)
        await trio.sleep(60)
        assert remote.fetched == []
        assert await one.fs.files.read(handle, 0, SIZE) == PATCHED
        assert await one.fs.files.read(handle, 990, 20) == PATCHED[990:1010]
        assert remote.fetched
        staged = next((tmp_path / "staged").glob("*a"))
        assert staged.read_bytes() == bytes(1000) + b"PATCH" + bytes(SIZE - 1005)
        monkeypatch.undo()
        await one.close(handle)
        await one.drained()
        assert remote.stored == {"a": PATCHED}


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[Blocks]:
    found = Blocks(tmp_path / "blocks", Limits(keep_free_bytes=0))
    yield found
    found.close()


@pytest.mark.parametrize("stays_open", [True, False], ids=["in the background", "when it is sent"])
async def test_what_was_read_before_is_not_fetched_again(
    tmp_path: Path, autojump_clock: trio.abc.Clock, blocks: Blocks, stays_open: bool
) -> None:
    remote = ScriptedRemote()
    async with machine(remote, tmp_path, blocks=blocks) as one:
        await one.write("/a", BASE)
        await one.drained()
        handle = await one.open("/a", os.O_RDONLY)
        assert await one.fs.files.read(handle, 0, SIZE) == BASE
        await trio.testing.wait_all_tasks_blocked()
        await one.close(handle)
        remote.fetched.clear()
        remote.drive.contents.clear()
        handle = await one.open("/a", os.O_RDWR)
        await one.fs.files.write(handle, 1000, b"PATCH")
        await trio.sleep(BEGIN_SECONDS if stays_open else 0)
        await one.close(handle)
        await one.drained()
        assert remote.fetched == []
        assert remote.stored == {"a": PATCHED}
