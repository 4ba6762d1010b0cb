"""What becomes of content that an earlier process left: a pure function of the record and of the file that was found.

Who uses: `recovery`, which carries it out. Two things can have happened. The process ended (the same boot): then the
disk has all that was written. Or the machine did, by a power cut or in order (another boot): then what was not fsynced
may be cut short, zeroed or gone, and a file that merely has its length proves nothing.

`Record.synced` survives a power cut only when it is true: it is written after the fsync, and taken back, durably,
before anything is cut off (`Contents.unsync`). What was written into synced content since is as on any local file
system after a power cut: each block is the old or the new one, and what was fsynced is there.
"""

from __future__ import annotations

import enum

from bitcasafs.writing.change import Record, State


class Fate(enum.Enum):
    AS_SEALED = "as sealed"
    """It goes on as the record says."""
    AS_IT_STANDS = "as it stands"
    """It is sealed with what was written since the last seal: that was acknowledged, too."""
    ASIDE = "aside"
    """It may be half of what its writer meant, or damaged: it becomes a file of its own, and never takes the name."""
    NOTHING = "nothing"
    """Nothing was promised, and nothing is there."""
    LOST = "lost"
    """Sealed content whose file is gone or cut short by somebody: a problem."""


def fate(record: Record, size_bytes: int | None, *, written: bool, boot_id: str) -> Fate:
    """`size_bytes` of the staged file, None: it is gone. `written`: something was ever written into it."""
    fields = record.change.fields
    never_sealed, same_boot = record.generation == 0, record.boot_id == boot_id
    if record.state is State.PROBLEM and (same_boot or never_sealed or size_bytes is None):
        return Fate.AS_SEALED
    if size_bytes is None:
        return Fate.NOTHING if never_sealed and not same_boot else Fate.LOST
    if fields.replacing is not None and fields.replacing[2]:  # the portal has it, and what it replaces is deleted
        return Fate.AS_SEALED
    if never_sealed:
        return Fate.ASIDE if written else Fate.NOTHING
    long_enough = size_bytes >= (fields.size_bytes or 0)
    if same_boot:
        if record.state is State.OPEN:
            return Fate.AS_IT_STANDS
        return Fate.AS_SEALED if long_enough else Fate.LOST
    if not (record.synced and long_enough):
        return Fate.ASIDE
    if record.state is State.OPEN or size_bytes > (fields.size_bytes or 0):
        return Fate.AS_IT_STANDS
    return Fate.AS_SEALED
