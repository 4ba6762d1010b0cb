"""A mount of a drive in memory, with the kernel's write-back cache or without, in a process that can be asked.

Who uses: `writeback`. One line of JSON in on stdin, one out on stdout; the process ends with its stdin. A second client
of the same drive, with no kernel, is the other machine. Run: `python -m tests.bench._writeback_mount MODE MOUNTPOINT
STATE TTL`.
"""

from __future__ import annotations

import enum
import errno
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyfuse3
import trio

from bitcasafs.fuse.guard import Guard, Guarded
from bitcasafs.fuse.operations import KernelOperations
from bitcasafs.remote.memory.client import MemoryRemote
from bitcasafs.remote.memory.drive import MemoryDrive
from bitcasafs.vfs.filesystem import FileSystem
from tests.support.kernel_mount import mounted_core
from tests.support.machine import Machine, machine
from tests.support.processes import ROOT, Usage, usage_of

if TYPE_CHECKING:
    from pyfuse3 import EntryAttributes, FileInfo, RequestContext

READY = "mounted"


class Mode(enum.Enum):
    WITHOUT = "without"
    WITH = "with"
    """And with what the core would need for it: every handle can be read, O_APPEND is the kernel's affair."""
    AS_IT_IS = "as it is"
    """The cache alone."""


class CountingGuard(Guard):
    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()

    def on(self, request: str) -> Guarded:
        self.requests[request] += 1
        return super().on(request)


class Watched(KernelOperations):
    """Counts what the kernel asks. `full`: every write fails as on a full disk."""

    full = False

    def __init__(self, core: FileSystem, guard: Guard) -> None:
        self.counting = CountingGuard()
        super().__init__(core, self.counting)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        if type(self).full:
            raise pyfuse3.FUSEError(errno.ENOSPC)
        return await super().write(fh, off, buf)

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        self.counting.requests["getxattr"] += 1
        return await super().getxattr(inode, name, ctx)


class CachedAsItIs(Watched):
    enable_writeback_cache = True


class Cached(CachedAsItIs):
    """The kernel reads the page that it writes a part of, also through a descriptor that was opened for writing only,
    and counts where the end is by itself."""

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        return await super().open(inode, adapted(flags), ctx)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        return await super().create(parent_inode, name, mode, adapted(flags), ctx)


OPERATIONS: Mapping[Mode, type[Watched]] = {
    Mode.WITHOUT: Watched, Mode.WITH: Cached, Mode.AS_IT_IS: CachedAsItIs,
}  # fmt: skip


def adapted(flags: int) -> int:
    """`flags` of open(2), as the core must see them under the write-back cache."""
    access = os.O_RDWR if flags & os.O_ACCMODE == os.O_WRONLY else flags & os.O_ACCMODE
    return flags & ~(os.O_ACCMODE | os.O_APPEND) | access


class WritebackMount:
    """The process, from outside: `with WritebackMount(mode, folder) as mount`."""

    def __init__(self, mode: Mode, folder: Path, *, ttl_seconds: float = 3600.0) -> None:
        self.mode = mode
        self.mountpoint = folder / "mnt"
        self.mountpoint.mkdir(parents=True)
        self._argv = [
            sys.executable, "-m", "tests.bench._writeback_mount", mode.value, str(self.mountpoint),
            str(folder / "state"), str(ttl_seconds),
        ]  # fmt: skip
        self._popen: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=ROOT
        )
        assert self._popen.stdout is not None
        if self._popen.stdout.readline().strip() != READY:
            raise OSError(f"the mount {self.mode.value} did not begin: {self._popen.wait()}")
        return self

    def __exit__(self, *about: object) -> None:
        assert self._popen is not None
        self._popen.__exit__(*about)  # type: ignore[arg-type]

    def ask(self, do: str, **more: object) -> Any:
        """The process's answer. OSError when it has ended."""
        assert self._popen is not None
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps({"do": do, **more}) + "\n")
        answer = self._popen.stdout.readline()
        if not answer:
            raise OSError(f"the mount {self.mode.value} ended with {self._popen.wait()}")
        return json.loads(answer)

    def requests(self) -> Counter[str]:
        """Of the kernel, since the mount began."""
        return Counter(self.ask("requests"))

    def usage(self) -> Usage:
        assert self._popen is not None
        return usage_of(self._popen.pid)

    def kill(self) -> None:
        assert self._popen is not None
        self._popen.kill()


async def _obey(here: Machine, there: Machine, counting: CountingGuard, command: Mapping[str, Any]) -> object:
    match command["do"]:
        case "requests":
            return dict(counting.requests)
        case "drained":
            await here.drained()
        case "sent":
            return here.fs.scheduler.statistics().sent_changes
        case "write there":
            await there.write(command["name"], b"x" * command["size"])
            await there.drained()
        case "look there":
            found = await there.find(command["name"])
            return {"size": found.size_bytes, "mtime_ns": found.mtime_ns}
        case "full":
            Watched.full = command["full"]
        case unknown:
            raise ValueError(f"no such command: {unknown!r}")
    return None


async def _work(mode: Mode, mountpoint: Path, state: Path, ttl_seconds: float) -> None:
    drive = MemoryDrive()
    made: list[Watched] = []

    def make(core: FileSystem, guard: Guard) -> Watched:
        made.append(OPERATIONS[mode](core, guard))
        return made[0]

    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(machine(MemoryRemote(drive), state, ttl_seconds=ttl_seconds))
        there = await stack.enter_async_context(machine(MemoryRemote(drive), state / "there", ttl_seconds=0.0))
        await stack.enter_async_context(mounted_core(here.fs, mountpoint, make))  # type: ignore[arg-type]
        print(READY, flush=True)
        commands = await stack.enter_async_context(trio.lowlevel.FdStream(os.dup(0)))
        pending = b""
        async for piece in commands:
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                print(json.dumps(await _obey(here, there, made[0].counting, json.loads(line))), flush=True)


if __name__ == "__main__":
    trio.run(_work, Mode(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
