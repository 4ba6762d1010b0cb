"""Makes sealed content survive a power cut: a background task that fsyncs it within five seconds of its seal.

Who uses: `mount.run` runs it beside the scheduler, and asks for `everything` when a mount ends in order. fsync of a
handle does not wait for it (`vfs.files`).

In rounds, in this order: files and the maps beside them, their folder, the mark in the outbox, the outbox's log. The
mark is made only of content that is still the generation that was synced. What is sent within the first seconds costs
no fsync. fsync(2) runs in threads, few at a time; on the loop a file costs the 10 us of its mark.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import trio

from bitcasafs.atomic import sync_file, sync_folder
from bitcasafs.errors import BitcasaError
from bitcasafs.writing.change import Record
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.written_map import map_path

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.5
"""Content is synced at the second look that finds it: after one and a half to three seconds."""
RETRY_SECONDS = 30.0
"""After the disk erred or was full."""
AT_ONCE = 4
"""fsyncs: a file system commits its journal for those that wait together. 10,000 files of 100 bytes take 6.6 s with
two, 2.6 s with four and 2.2 s with eight (ext4, measured); more only take the disk from the reads of uploads."""
GROUP, ROUND, ROUND_BYTES = 16, 128, 16 << 20
"""Files a thread hop; files, and bytes, a mark. 128 marks keep the loop for 3 ms."""


class Disk(Protocol):
    """What can be made durable. OSError."""

    async def sync_files(self, names: Sequence[str]) -> Sequence[OSError | None]:
        """Staged files and the maps beside them; what befell each is answered, not raised."""
        ...

    async def sync_names(self) -> None:
        """The folder of staged files."""
        ...

    async def sync_log(self) -> None:
        """What the outbox has committed."""
        ...


class StateDisk:
    """The disk under an outbox and its staging folder, in threads."""

    def __init__(self, outbox: Outbox, staged: Path) -> None:
        self._outbox, self._staged = outbox, staged

    async def sync_files(self, names: Sequence[str]) -> Sequence[OSError | None]:
        return await trio.to_thread.run_sync(_sync_files, [self._staged / name for name in names])

    async def sync_names(self) -> None:
        await trio.to_thread.run_sync(sync_folder, self._staged)

    async def sync_log(self) -> None:
        await trio.to_thread.run_sync(self._outbox.sync)


def _sync_files(paths: Sequence[Path]) -> list[OSError | None]:
    """Runs in a thread."""
    found: list[OSError | None] = []
    for path in paths:
        try:
            sync_file(path)
            with contextlib.suppress(FileNotFoundError):
                sync_file(map_path(path))
            found.append(None)
        except OSError as error:
            found.append(error)
    return found


class Syncing:
    def __init__(self, outbox: Outbox, disk: Disk) -> None:
        self._outbox, self._disk = outbox, disk
        self._few = trio.CapacityLimiter(AT_ONCE)
        self._changed = trio.Event()
        self._failed: dict[int, int] = {}
        self._retry_at = math.inf
        outbox.watch(self._note_change)

    def _note_change(self) -> None:
        self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sync until cancelled. The log is synced with it, so changes of names are durable as soon as contents are."""
        task_status.started()
        seen: dict[int, int] = {}
        while True:
            if not seen and not self._changed.is_set():
                with trio.move_on_at(self._retry_at):
                    await self._changed.wait()
            await trio.sleep(LOOK_SECONDS)
            if trio.current_time() >= self._retry_at:
                self._failed, self._retry_at = {}, math.inf
            waiting = [one for one in self._outbox.unsynced if self._failed.get(one.id) != one.generation]
            due = [one for one in waiting if seen.get(one.id) == one.generation]
            seen = {one.id: one.generation for one in waiting}
            if due or self._changed.is_set():
                await self._sync(due)

    async def everything(self) -> None:
        """All that is sealed now, and the log; what cannot be synced is logged. Waits for the disk."""
        await self._sync(self._outbox.unsynced)

    async def _sync(self, due: Sequence[Record]) -> None:
        try:
            for some in _rounds(due):
                await self._sync_round(some)
            self._changed = trio.Event()
            await self._disk.sync_log()
        except (OSError, BitcasaError) as error:
            self._complain(due, error)

    async def _sync_round(self, records: Sequence[Record]) -> None:
        durable: list[Record] = []

        async def sync(group: Sequence[Record]) -> None:
            async with self._few:
                outcomes = await self._disk.sync_files([one.staged for one in group if one.staged is not None])
            for record, error in zip(group, outcomes, strict=True):
                if error is None:
                    durable.append(record)
                elif self._outbox.get(record.id) is not None:  # else it was sent meanwhile
                    self._complain([record], error)

        async with trio.open_nursery() as nursery:
            for start in range(0, len(records), GROUP):
                nursery.start_soon(sync, records[start : start + GROUP])
        await self._disk.sync_names()
        self._outbox.note_synced(durable)

    def _complain(self, records: Sequence[Record], error: Exception) -> None:
        """Not again at once. A file that is gone is a problem already, or the sender will make one of it."""
        if not self._failed and not isinstance(error, FileNotFoundError):
            log.warning("what waits to be sent cannot be made safe against a power cut: %s", error)
        self._failed.update((record.id, record.generation) for record in records)
        self._retry_at = min(self._retry_at, trio.current_time() + RETRY_SECONDS)


def _rounds(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Small ones first, many at a time: none waits for its mark until a large file has reached the disk."""
    some: list[Record] = []
    total = 0
    for record in sorted(records, key=_size):
        if some and (len(some) >= ROUND or total + _size(record) > ROUND_BYTES):
            yield some
            some, total = [], 0
        some.append(record)
        total += _size(record)
    if some:
        yield some


def _size(record: Record) -> int:
    return record.change.fields.size_bytes or 0
