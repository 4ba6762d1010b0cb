"""What an earlier process left: brought to a state that is safe to go on from, before anything is sent or shown.

Sealed content is sent as it is. Content that was sealed and then written again is sent as it stands, as a local file
system would show it after such a kill: all that was sealed, and what the application wrote since and was told is
written. Content that was never sealed may be half of what its writer meant: it stays, as a problem with its staged
file, and is never sent over a name; so does what was written since a seal before a power cut (another boot id). Which
bytes were written, and which are to come from the version below, is read from the map beside the file. Sealed content
whose file is gone or cut short is a problem too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bitcasafs.writing.change import Record, State
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.ranges import Ranges
from bitcasafs.writing.staging import Staging
from bitcasafs.writing.written_map import map_path, replayed


@dataclass(frozen=True, slots=True)
class Recovered:
    to_send: int
    unfinished: int
    strangers: tuple[str, ...]
    """Files of the staging folder that no record names: left where they are."""


def recover(outbox: Outbox, staging: Staging) -> Recovered:
    """Call once after the outbox was opened."""
    unfinished = 0
    for record in list(outbox):
        if record.staged is None or record.state is State.PROBLEM:
            continue
        path = staging.folder / record.staged
        size = path.stat().st_size if path.is_file() else None
        if record.state is State.OPEN and size is not None and record.generation and record.boot_id == outbox.boot_id:
            found = _as_it_stands(record, path, size)
            outbox.seal(found, found.change)
        elif record.state is State.OPEN:
            unfinished += 1
            found = _as_it_stands(record, path, size or 0)
            outbox.update(found.moved(State.PROBLEM, reason="the mount ended before this file was closed"))
        elif size is None or size < (record.change.fields.size_bytes or 0):
            lost = "its staged file is gone" if size is None else "its staged file is shorter than what was written"
            outbox.update(replace(record, state=State.PROBLEM, reason=lost))
    outbox.forget_nodes()
    named = {record.staged for record in outbox if record.staged is not None}
    strangers = tuple(sorted(staging.names() - named))
    to_send = sum(record.state is State.READY for record in outbox)
    return Recovered(to_send, unfinished, strangers)


def _as_it_stands(record: Record, path: Path, size_bytes: int) -> Record:
    fields = record.change.fields
    base_limit, written = replayed(map_path(path), fields.base_limit, Ranges(fields.written))
    fields = replace(fields, size_bytes=size_bytes, base_limit=base_limit, written=tuple(written))
    return replace(record, change=replace(record.change, fields=fields))
