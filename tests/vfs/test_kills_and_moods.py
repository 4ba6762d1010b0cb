"""Random deeds, a portal of many moods, and kills at any await, in virtual time: what a program was told stays true,
and ends on the portal, once. tests/e2e/test_crashes.py does the same to real processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from bitcasafs.errors import BitcasaError, Busy, Stale, TimedOut, Unavailable, Unreachable
from bitcasafs.remote.interface import Outcome, Source
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.values.items import Item
from bitcasafs.values.items import Kind as ItemKind
from bitcasafs.values.operations import Operation, Put
from bitcasafs.vfs.entry import Entry as Told
from bitcasafs.vfs.entry import Handle, Wanted
from tests.support.deeds import Entry, File, Folder, Kind, Link, Step, Tree, after, draw
from tests.support.machine import ME, Machine, machine
from tests.support.manifest import differences, settled

DEEDS = 30


class Moody(MemoryRemote):
    """Takes its time before and after a change takes effect, and fails at `level` (0 to 1) on either side of it."""

    def __init__(self, drive: MemoryDrive, chance: Random, *, historical: bool) -> None:
        super().__init__(drive, historical=historical)
        self.chance = chance
        self.level = 0.0

    async def _mood(self, *, applied: bool) -> None:
        await trio.sleep(self.chance.choice((0, 0.01, 0.3)))
        if self.chance.random() < self.level:
            before: list[BitcasaError] = [
                Unreachable("no route", applied=False),
                Busy("later", applied=False, retry_after_seconds=1),
                TimedOut("no answer", applied=None),
            ]
            raise TimedOut("no answer", applied=None) if applied else self.chance.choice(before)

    async def store(self, put: Put, source: Source, **how: object) -> Item:
        await self._mood(applied=False)
        item = await super().store(put, source, **how)  # type: ignore[arg-type]
        await self._mood(applied=True)
        return item

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        await self._mood(applied=False)
        outcomes = await super().apply(operations)
        await self._mood(applied=True)
        return outcomes


class Hand:
    """Does the steps of deeds to a machine."""

    def __init__(self, one: Machine) -> None:
        self._one = one
        self._handle: Handle | None = None

    async def do(self, step: Step) -> None:
        one, path = self._one, f"/{step.path}"
        match step.kind:
            case Kind.OPEN:
                try:
                    self._handle = await one.open(path, step.number)
                except Stale:  # the kernel looks the path up again
                    self._handle = await one.open(path, step.number)
            case Kind.WRITE:
                assert self._handle is not None
                await one.fs.files.write(self._handle, max(step.number, 0), step.data)  # O_APPEND has its own
            case Kind.FSYNC:
                assert self._handle is not None
                await one.fs.files.fsync(self._handle, False)
            case Kind.CLOSE:
                assert self._handle is not None
                await one.close(self._handle)
            case Kind.RENAME:
                await one.rename(path, f"/{step.to}")
            case Kind.UNLINK:
                await one.unlink(path)
            case Kind.MKDIR:
                await one.mkdir(path)
            case Kind.RMDIR:
                await one.rmdir(path)
            case Kind.SYMLINK:
                await one.fs.names.symlink(*await one.spot(path), step.to, ME)
            case _:
                wanted = {
                    Kind.TRUNCATE: Wanted(size_bytes=step.number), Kind.CHMOD: Wanted(permissions=step.number),
                    Kind.UTIME: Wanted(mtime_ns=step.number),
                }[step.kind]  # fmt: skip
                await one.fs.attributes.set((await one.find(path)).number, wanted)


async def look(one: Machine, folder: str = "") -> dict[str, Entry]:
    """What a program sees."""
    seen: dict[str, Entry] = {}
    for name in await one.names(folder):
        path = f"{folder}/{name}"
        told = await one.find(path)
        seen[path[1:]] = await _entry(one, path, told)
        if told.kind is ItemKind.FOLDER:
            seen |= await look(one, path)
    return seen


async def _entry(one: Machine, path: str, told: Told) -> Entry:
    if told.kind is ItemKind.FOLDER:
        return Folder(told.permissions)
    if told.kind is ItemKind.SYMLINK:
        return Link(await one.fs.names.readlink(told.number))
    return File(await one.read(path), told.permissions, told.mtime_ns)


class Play:
    """One drive, one machine that is killed again and again."""

    def __init__(self, folder: Path, seed: int, *, historical: bool, kills: bool, level: float, deeds: int) -> None:
        self.folder, self.historical, self.kills, self.level, self.deeds = folder, historical, kills, level, deeds
        self.chance = Random(seed)
        self.drive = MemoryDrive()
        self.remote = Moody(self.drive, Random(seed + 1), historical=historical)
        self.tree: Tree = {}
        self.allowed: tuple[Tree, ...] = ({},)
        self.log: list[str] = []

    async def run(self) -> None:
        while self.deeds:
            async with machine(self.remote, self.folder / "one", ttl_seconds=2) as one:
                await self._check(one)
                self.remote.level = self.level
                with trio.move_on_after(self.chance.uniform(0, 20) if self.kills else float("inf")):
                    await self._work(one)
                self.remote.level = 0
            self.log.append("--- killed")
        async with machine(self.remote, self.folder / "one", ttl_seconds=2) as one:
            await self._check(one)
            with trio.fail_after(1000):
                await one.drained()
            assert list(one.fs.problems()) == []
            await trio.sleep(10)
            await self._check(one)
        async with machine(MemoryRemote(self.drive, historical=self.historical), self.folder / "two") as two:
            lines = differences(self.tree, await look(two), attributes=not self.historical)
            assert not lines, lines

    async def _check(self, one: Machine) -> None:
        """Walks may begin before the portal answers; faults of the network are none of this."""
        self.tree = settled(self.allowed, await look(one))
        self.allowed = (self.tree,)

    async def _work(self, one: Machine) -> None:
        hand = Hand(one)
        while self.deeds:
            self.deeds -= 1
            for step in draw(self.chance, self.tree):
                said = (step.kind.value, step.path, step.to, step.number, step.size)
                self.log.append(f"{trio.current_time():.2f} {said}")
                self.allowed = (*self.allowed, after(self.allowed[-1], step))
                try:
                    await hand.do(step)
                except Unavailable:
                    # What is to be changed in part and is not here: refused at once, and nothing has happened.
                    assert step.kind in (Kind.OPEN, Kind.TRUNCATE)
                    self.allowed = self.allowed[:1]
                    break
                if step.promises:
                    self.allowed = self.allowed[-1:]
            self.tree = self.allowed[-1]
            await trio.sleep(self.chance.choice((0, 0, 0.05, 1, 3)))
            if self.chance.random() < 0.2:
                lines = differences(self.tree, await look(one))
                assert not lines, lines


def play(folder: Path, seed: int, **how: object) -> None:
    played = Play(folder, seed, **how)  # type: ignore[arg-type]
    try:
        trio.run(played.run, clock=trio.testing.MockClock(autojump_threshold=0))
    except BaseException as error:
        error.add_note("\n".join([f"seed {seed} {how}", *played.log[-80:]]))
        raise


# Not all seeds hold at every run yet, whatever the portal (docs/semantics.md, known limits): by hand until they do.
@pytest.mark.long
@pytest.mark.parametrize("historical", [False, True], ids=["extended", "historical"])
@pytest.mark.parametrize("kills", [False, True], ids=["no kills", "kills"])
@pytest.mark.parametrize("level", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_what_was_told_stays_true(tmp_path: Path, seed: int, level: float, *, kills: bool, historical: bool) -> None:
    play(tmp_path, seed, historical=historical, kills=kills, level=level, deeds=DEEDS)
