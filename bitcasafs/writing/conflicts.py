"""What becomes of a change that the portal refused because somebody else was there first: a pure policy.

docs/semantics.md has the table for people ("When two machines change the same"). The rule behind it: content is never
lost; of two that claim a name the one that is on the portal keeps it; a delete gives way to a change. Who uses:
`vfs.conflicts` looks at the portal, asks here, and carries the verdict out.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bitcasafs.errors import (
    BitcasaError,
    Exists,
    IsFolder,
    KeyReused,
    NotEmpty,
    NotFolder,
    NotFound,
    VersionMismatch,
)
from bitcasafs.values.items import Item, Kind
from bitcasafs.writing.change import ChangeKind, Record
from bitcasafs.writing.contents import version_of

MOST_ATTEMPTS = 30
"""After so many tries a person decides: two machines may fight for a name, or a portal may contradict itself."""


class Verdict(enum.Enum):
    DONE = "the portal has it as ours would have made it"
    COPY = "ours gets a name of its own; what is there keeps the name"
    AGAIN = "what it was made from, or the folder, is gone: it is made anew, folders too"
    FOLLOW = "the item has another name by now: ours goes there"
    UNBOUND = "what it was to replace is gone: it is sent again without that"
    RESTORE = "what is there stays, and is seen again"
    DROP = "the item is gone, and with it the change"
    PROBLEM = "a person decides"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found on the portal after a refusal.

    `node`: the changed item, wherever it is by now (None: gone; on a portal without identities it is looked for under
    its name, and by its content's id in the same folder). `at_name`: what has the name that the change was to take.
    `same`: that is exactly what ours would have made of it. `folder_gone`: the folder of that name is not there.
    `waits`: content of the item, or something in the folder, waits to be sent.
    """

    node: Item | None = None
    at_name: Item | None = None
    same: bool = False
    folder_gone: bool = False
    waits: bool = False


_CONFLICTS = (VersionMismatch, Exists, NotFound, IsFolder, NotFolder, NotEmpty, KeyReused)


def is_conflict(error: BitcasaError) -> bool:
    """Somebody else's change explains the refusal; a quota, a permission or a name that cannot be does not."""
    return isinstance(error, _CONFLICTS)


def decide(record: Record, seen: Seen) -> Verdict:
    """Of a change that was refused for a conflict."""
    if record.attempts > MOST_ATTEMPTS:
        return Verdict.PROBLEM
    match record.change.kind:
        case ChangeKind.CONTENT:
            return _making(record, seen) if record.change.base is None else _content(record, seen)
        case ChangeKind.MKDIR | ChangeKind.SYMLINK:
            return _making(record, seen)
        case ChangeKind.MOVE:
            return _move(record, seen)
        case ChangeKind.DELETE:
            return Verdict.DONE if seen.node is None else Verdict.RESTORE
        case ChangeKind.ATTRIBUTES:
            return Verdict.DROP if seen.node is None else Verdict.PROBLEM


def _content(record: Record, seen: Seen) -> Verdict:
    """New content of what was on the portal."""
    if seen.same:
        return Verdict.DONE
    if seen.node is not None:
        return Verdict.FOLLOW if version_of(seen.node) == record.change.base else Verdict.COPY
    return Verdict.COPY if seen.at_name is not None else Verdict.AGAIN


def _making(record: Record, seen: Seen) -> Verdict:
    """A new file, folder or link."""
    if seen.same:
        return Verdict.DONE
    if seen.folder_gone:
        return Verdict.AGAIN
    return Verdict.UNBOUND if seen.at_name is None else Verdict.COPY


def _move(record: Record, seen: Seen) -> Verdict:
    if seen.node is None:
        if seen.same and record.unsure:
            return Verdict.DONE  # our own lost answer, where no key tells
        return Verdict.AGAIN if seen.waits else Verdict.DROP
    if seen.folder_gone:
        return Verdict.AGAIN
    if seen.at_name is None:
        return Verdict.UNBOUND
    return Verdict.DONE if _is_same_item(seen.node, seen.at_name) else Verdict.COPY


def _is_same_item(one: Item, other: Item) -> bool:
    return one.node == other.node if one.node is not None else one.path == other.path


def is_equal_link(item: Item, target: str) -> bool:
    """A link that was to be made is there."""
    return item.kind is Kind.SYMLINK and item.attributes.symlink == target
