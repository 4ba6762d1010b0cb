"""One machine's mount without a kernel: the vfs over a remote, with an outbox and a staging folder of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bitcasafs.reading.blocks import Blocks
from bitcasafs.remote.interface import Remote
from bitcasafs.values.items import Kind
from bitcasafs.vfs.entry import Absent, Caller, Entry, Handle
from bitcasafs.vfs.filesystem import FileSystem, Settings, build
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.vfs.nodes import ROOT
from bitcasafs.vfs.view import Owner
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.recovery import Recovered, recover
from bitcasafs.writing.staging import Staging

ME = Caller(uid=1000, gid=1000)
FILE, FOLDER = 0o644, 0o755


@dataclass
class Machine:
    fs: FileSystem
    recovered: Recovered
    now_ns: int = 1_700_000_000_000_000_000

    async def find(self, path: str) -> Entry:
        """Walk from the root; FileNotFoundError."""
        entry: Entry | Absent = await self.fs.attributes.get(ROOT)
        for name in [part for part in path.split("/") if part]:
            assert isinstance(entry, Entry)
            entry = await self.fs.names.lookup(entry.number, name)
            if isinstance(entry, Absent):
                raise FileNotFoundError(path)
            self.fs.names.forget([(entry.number, 1)])
        assert isinstance(entry, Entry)
        return entry

    async def spot(self, path: str) -> tuple[int, str]:
        folder, name = os.path.split(path)
        return (await self.find(folder)).number, name

    async def open(self, path: str, flags: int) -> Handle:
        parent, name = await self.spot(path)
        if flags & os.O_CREAT:
            opened, _ = await self.fs.names.create(parent, name, FILE, flags, ME)
            return opened.handle
        return (await self.fs.files.open((await self.find(path)).number, flags)).handle

    async def close(self, handle: Handle) -> None:
        await self.fs.files.flush(handle)
        await self.fs.files.release(handle)

    async def write(self, path: str, data: bytes, offset: int = 0, flags: int = os.O_CREAT | os.O_TRUNC) -> None:
        """open, write, close; by default as `>` of a shell does."""
        handle = await self.open(path, os.O_WRONLY | flags)
        await self.fs.files.write(handle, offset, data)
        await self.close(handle)

    async def read(self, path: str) -> bytes:
        handle = await self.open(path, os.O_RDONLY)
        try:
            data = b""
            while piece := await self.fs.files.read(handle, len(data), 1 << 17):
                data += piece
            return data
        finally:
            await self.close(handle)

    async def names(self, path: str = "") -> list[str]:
        handle = await self.fs.folders.open((await self.find(path)).number)
        try:
            return sorted(row.name for row in self.fs.folders.rows(handle, 0))
        finally:
            self.fs.folders.release(handle)

    async def mkdir(self, path: str) -> None:
        await self.fs.names.mkdir(*await self.spot(path), FOLDER, ME)

    async def unlink(self, path: str) -> None:
        await self.fs.names.unlink(*await self.spot(path))

    async def rmdir(self, path: str) -> None:
        await self.fs.names.rmdir(*await self.spot(path))

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        await self.fs.names.rename(*await self.spot(old), *await self.spot(new), flags)

    async def tree(self, path: str = "") -> Mapping[str, bytes | None]:
        """Every path below `path`: content of files, None of folders, `-> target` of links."""
        found: dict[str, bytes | None] = {}
        for name in await self.names(path):
            child = f"{path}/{name}"
            entry = await self.find(child)
            if entry.kind is Kind.FOLDER:
                found[child] = None
                found.update(await self.tree(child))
            elif entry.kind is Kind.SYMLINK:
                found[child] = b"-> " + (await self.fs.names.readlink(entry.number)).encode()
            else:
                found[child] = await self.read(child)
        return found

    async def drained(self) -> None:
        await self.fs.deliveries.drained()


@asynccontextmanager
async def machine(
    remote: Remote,
    state: Path,
    *,
    sending: bool = True,
    ttl_seconds: float = 10.0,
    uploads: int = 4,
    settle_seconds: float = 1.0,
    host: str = "this machine",
    blocks: Blocks | None = None,
    keep_free_bytes: int | None = None,
    make_outbox: Callable[[Path, str], Outbox] = Outbox,
    make_staging: Callable[[Path], Staging] = Staging,
) -> AsyncIterator[Machine]:
    """Leaving it is a kill: nothing is sealed, sent or closed in order. `sending`: the scheduler runs.
    `keep_free_bytes` None: nobody looks how full the disk is.
    """
    root = (await remote.roots()).items[0]
    outbox = make_outbox(state, "boot")
    staging = make_staging(state / "staged")
    contents = Contents(outbox, staging)
    ledger = Ledger(state / "nodes.sqlite3")
    recovered = recover(outbox, staging)
    settings = Settings(
        Owner(1000, 1000),
        ttl_seconds=ttl_seconds,
        uploads=uploads,
        settle_seconds=settle_seconds,
        host=host,
        staged=None if keep_free_bytes is None else staging.folder,
        keep_free_bytes=keep_free_bytes,
    )
    clock = [1_700_000_000_000_000_000]

    def now_ns() -> int:
        clock[0] += 1_000_000
        return clock[0]

    try:
        async with trio.open_nursery() as nursery:
            fs = build(
                remote,
                root,
                outbox,
                contents,
                ledger,
                settings,
                nursery=nursery,
                now_ns=now_ns,
                random_unit=lambda: 0.5,
                blocks=blocks,
            )
            if sending:
                await nursery.start(fs.scheduler.run)
            yield Machine(fs, recovered)
            nursery.cancel_scope.cancel()
    finally:
        contents.close()
        ledger.close()
        outbox.close()
