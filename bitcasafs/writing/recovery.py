"""What an earlier process left: brought to a state that is safe to go on from, before anything is sent or shown.

What becomes of each content is `fate`. Content that may be half of what its writer meant, or that a power cut may have
damaged, becomes a new file `name (recovered DATE)` beside the one it was for; that is again as the portal has it, or
not there when it never was. Which bytes were written since the last seal, and which are to come from the version below,
is read from the map beside the file; after a power cut the map of what was synced is forgotten, and what the record
says counts.

All of it is one transaction: a kill in the middle leaves what was found, and the next mount begins again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from itertools import count
from pathlib import Path

from bitcasafs.values.items import Kind
from bitcasafs.writing.change import Change, ChangeKind, Number, Record, State
from bitcasafs.writing.copy_names import recovered_name
from bitcasafs.writing.fate import Fate, fate
from bitcasafs.writing.known_node import KnownNode
from bitcasafs.writing.outbox import Outbox, new_key
from bitcasafs.writing.ranges import Ranges
from bitcasafs.writing.staging import Staging
from bitcasafs.writing.written_map import map_path, replayed, staged_name

log = logging.getLogger(__name__)

ROOT: Number = 1
"""As the outbox's format has it."""
SHOWN = 20
"""More names than that only fill the log."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """`to_send`: changes that wait. `aside`: the names that content was recovered under. `dropped`: files that were
    opened and never written. `lost`: problems because a staged file is gone or cut short.
    """

    to_send: int
    aside: tuple[str, ...]
    dropped: int
    lost: int
    strangers: tuple[str, ...]
    """Files of the staging folder that no record ever named: left where they are."""


def recover(outbox: Outbox, staging: Staging, *, today: date, highest: Number = ROOT) -> Recovered:
    """Call once after the outbox was opened, before anything else uses it. `highest`: no number above it was given to
    a node, but for those that the outbox itself knows. NoSpace: nothing was changed.
    """
    recovery = _Recovery(outbox, staging, today, highest)
    last, since_ns = outbox.note_use()
    with outbox.together():
        # The newest first: what becomes of an older content of the same file depends on it.
        for record in sorted(outbox, key=lambda one: one.id, reverse=True):
            if record.staged is not None:
                recovery.settle(record)
    recovery.clean()
    outbox.forget_nodes()
    named = {record.staged for record in outbox if record.staged is not None}
    _clear_dropped(staging, named, last, since_ns)
    found = Recovered(
        to_send=sum(record.state is State.READY for record in outbox),
        aside=tuple(recovery.aside),
        dropped=recovery.fates[Fate.NOTHING],
        lost=recovery.fates[Fate.LOST],
        strangers=tuple(sorted(staging.names() - named)),
    )
    _tell(found, staging.folder)
    return found


def _clear_dropped(staging: Staging, named: set[str], last: int, since_ns: int) -> None:
    """Take away the files of changes that were dropped just before a kill. A staged file is made right before its
    record, and its number is at most that of the record: where all is known that was given to that number, and no
    record has the file, its record is gone for good. Any other file is somebody's, or of a log that a power cut took;
    one that is older than this outbox belonged to another.
    """
    for name in staging.all_names():
        serial, _, _ = name.partition(" ")
        number = serial.removesuffix(".map")
        if staged_name(name) in named or len(number) < 8 or not number.isdecimal() or int(number) > last:
            continue
        with contextlib.suppress(FileNotFoundError):
            if (staging.folder / name).stat().st_mtime_ns >= since_ns:
                staging.remove(staged_name(name))


class _Recovery:
    """One pass. `clean` removes files, once what the pass decided is durable."""

    def __init__(self, outbox: Outbox, staging: Staging, today: date, highest: Number) -> None:
        self._outbox, self._staging, self._today = outbox, staging, today
        self._known = {one.number: one for one in outbox.known_nodes()}
        self._children = {(one.parent, one.name) for one in self._known.values()}
        used = max(highest, ROOT, *self._known, *(record.change.node for record in outbox))
        self._numbers = count(used + 1)
        self._trusted: dict[Number, Record] = {}
        self._afterwards: list[Callable[[], object]] = []
        self.fates: Counter[Fate] = Counter()
        self.aside: list[str] = []

    def settle(self, record: Record) -> None:
        assert record.staged is not None
        path = self._staging.folder / record.staged
        size, blocks = _size_of(path)
        found = self._found(record, path, size or 0, blocks)
        fields = found.change.fields
        written = size != 0 and not (fields.base_limit == size and not fields.written)
        decided = fate(record, size, written=written, boot_id=self._outbox.boot_id)
        self.fates[decided] += 1
        newer = self._trusted.get(record.change.node)
        if decided is Fate.ASIDE and newer is not None:
            decided = Fate.NOTHING  # superseded by what was sealed later, and is whole
            self._trusted[record.change.node] = self._inherit(newer, record)
        match decided:
            case Fate.AS_SEALED | Fate.AS_IT_STANDS:
                self._go_on(record, found if decided is Fate.AS_IT_STANDS else None, path, size or 0)
            case Fate.ASIDE:
                self._put_aside(record, found)
            case Fate.NOTHING:
                self._outbox.remove(record.id)
                self._afterwards.append(lambda: self._staging.remove(path.name))
            case Fate.LOST:
                lost = "gone" if size is None else "shorter than what was written"
                reason = f"its staged file is {lost}"
                self._outbox.update(replace(record, state=State.PROBLEM, reason=reason))

    def _found(self, record: Record, path: Path, size_bytes: int, blocks: int) -> Record:
        """The record as the file is: what would be sealed."""
        same_boot = record.boot_id == self._outbox.boot_id
        if same_boot and record.state is State.READY:
            return record
        found = _as_it_stands(record, path, size_bytes, with_map=not self._after_power_cut(record))
        if same_boot or record.generation or not blocks or found.change.fields.written:
            return found
        # The map did not reach the disk, and content did: whose it is nobody knows, and ours must not be lost.
        return replace(found, change=replace(found.change, fields=replace(found.change.fields, base_limit=0)))

    def _after_power_cut(self, record: Record) -> bool:
        return record.synced and record.boot_id != self._outbox.boot_id

    def _go_on(self, record: Record, found: Record | None, path: Path, size: int) -> None:
        """Trusted content: sealed anew as `found`, or as it is. From here on it counts as written in this boot."""
        wanted = record.change.fields.size_bytes or 0
        if self._after_power_cut(record):
            self._afterwards.append(lambda: map_path(path).unlink(missing_ok=True))
            if found is None:
                record = self._outbox.update(replace(record, boot_id=self._outbox.boot_id))
        if found is not None:
            record = self._outbox.seal(found, found.change)
        elif size < wanted and record.state is not State.PROBLEM:  # the portal has it: its length counts
            self._afterwards.append(lambda: os.truncate(path, wanted))
        if record.state is not State.PROBLEM:
            self._trusted.setdefault(record.change.node, record)

    def _put_aside(self, record: Record, found: Record) -> None:
        """The content becomes a file of its own, over nothing; its holes are still those of the version it was for."""
        folder, name = self._spot(record)
        name = recovered_name(name, self._today, lambda one: self._is_taken(folder, one))
        number = next(self._numbers)
        old = found.change.fields
        version = (old.base_version or record.change.base) if old.base_id is not None else None
        fields = replace(old, parent=folder, name=name, over=None, over_node=None, replacing=None, base_version=version)
        change = Change(ChangeKind.CONTENT, number, None, fields)
        self._outbox.remember(KnownNode(number, None, folder, name, None, Kind.FILE))
        if record.state is State.PROBLEM:
            changed = replace(record, change=change, key=new_key(), attempts=0, unsure=False)
            self._outbox.update(replace(changed, boot_id=self._outbox.boot_id, synced=False))
        else:
            self._outbox.seal(replace(record, attempts=0), change)
        self.aside.append(name)

    def _spot(self, record: Record) -> tuple[Number, str]:
        """Folder and name that users saw it under: as the youngest pending change of its name says."""
        node = record.change.node
        known = self._known.get(node)
        assert record.staged is not None
        spot = (None, record.staged.split(" ", 1)[-1]) if known is None else (known.parent, known.name)
        last = 0
        for one in self._outbox.of_node(node):
            fields = one.change.fields
            moves = one.change.kind is not ChangeKind.MOVE or one.state is not State.PROBLEM
            if fields.parent is not None and fields.name is not None and moves:
                spot, last = (fields.parent, fields.name), one.id
        for one in self._outbox.naming(node):
            fields = one.change.fields
            if fields.exchange and fields.over_node == node and one.id > last and one.state is not State.PROBLEM:
                spot, last = (fields.old_parent, fields.old_name or spot[1]), one.id
        folder, name = spot
        return (folder if folder in self._known and folder is not None else ROOT), name or "file"

    def _is_taken(self, folder: Number, name: str) -> bool:
        return (folder, name) in self._children or bool(self._outbox.at_place(folder, name))

    def _inherit(self, newer: Record, older: Record) -> Record:
        """What `older`, which is given up, was to take: the name of a new node, and what it replaces there."""
        gone, fields = older.change.fields, newer.change.fields
        if gone.parent is None or fields.parent is not None or gone.replacing is not None:
            return newer
        fields = replace(fields, parent=gone.parent, name=gone.name, over=gone.over, over_node=gone.over_node)
        return self._outbox.update(replace(newer, change=replace(newer.change, fields=fields)))

    def clean(self) -> None:
        for one in self._afterwards:
            try:
                one()
            except OSError as error:
                log.info("what is not needed any more stays: %s", error)


def _size_of(path: Path) -> tuple[int | None, int]:
    """Length, and blocks that hold content (a hole has none). None: there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None, 0
    return (found.st_size, found.st_blocks) if stat.S_ISREG(found.st_mode) else (None, 0)


def _as_it_stands(record: Record, path: Path, size_bytes: int, *, with_map: bool) -> Record:
    """What there is to be sealed. `with_map`: what was noted beside the file since the last seal counts."""
    fields = record.change.fields
    base_limit, written = fields.base_limit, Ranges(fields.written)
    if base_limit and with_map:
        base_limit, written = replayed(map_path(path), base_limit, written)
    base_limit = min(base_limit, size_bytes)
    written.cut(size_bytes)
    fields = replace(fields, size_bytes=size_bytes, base_limit=base_limit, written=tuple(written))
    return replace(record, change=replace(record.change, fields=fields))


def _tell(found: Recovered, folder: Path) -> None:
    if found.to_send:
        log.info("left by an earlier mount: %d changes to send", found.to_send)
    for name in found.aside[:SHOWN]:
        log.info("content that was not closed, or that a power cut may have damaged, is now the file %s", name)
    if len(found.aside) > SHOWN:
        log.info("and %d more files that were recovered likewise", len(found.aside) - SHOWN)
    if found.lost:
        log.info("%d files could not be recovered: what was written is gone from %s", found.lost, folder)
    if found.strangers:
        log.info("%d files in %s belong to no change that is known: they stay there", len(found.strangers), folder)
