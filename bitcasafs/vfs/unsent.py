"""A change of the outbox as a person is told of it: where, what, and why it waits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bitcasafs.values.items import Attributes
from bitcasafs.writing.change import ChangeKind, Number, Record

PathOf = Callable[[Number], str]
"""The path of a node below the mountpoint."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """`path` below the mountpoint, before the change; `kind`, `state`: `change.ChangeKind`, `change.State`; `what`: the
    change in words; `size_bytes`: of sealed content; `reason`: of a problem.
    """

    id: int
    path: str
    kind: str
    what: str
    state: str
    size_bytes: int | None
    reason: str | None


def told(record: Record, path_of: PathOf) -> Unsent:
    return Unsent(
        id=record.id,
        path=place(record, path_of),
        kind=record.change.kind.value,
        what=what(record, path_of),
        state=record.state.value,
        size_bytes=record.change.fields.size_bytes,
        reason=record.reason,
    )


def place(record: Record, path_of: PathOf) -> str:
    """Where the item is, or was, without the change; of a new one where it is to be."""
    fields = record.change.fields
    if fields.old_parent is not None and fields.old_name is not None:
        return _below(path_of(fields.old_parent), fields.old_name)
    if fields.parent is not None and fields.name is not None:
        return _below(path_of(fields.parent), fields.name)
    return path_of(record.change.node)


def what(record: Record, path_of: PathOf) -> str:
    fields = record.change.fields
    match record.change.kind:
        case ChangeKind.CONTENT:
            return "new file" if record.change.base is None and fields.parent is not None else "new content"
        case ChangeKind.MKDIR:
            return "new folder"
        case ChangeKind.SYMLINK:
            return f"new link to {fields.attributes.symlink}"
        case ChangeKind.DELETE:
            return "delete the folder" if fields.folder else "delete"
        case ChangeKind.MOVE:
            return _move(record, path_of)
        case ChangeKind.ATTRIBUTES:
            return f"change of {', '.join(_attributes(fields.attributes, fields.dropped))}"


def _move(record: Record, path_of: PathOf) -> str:
    fields = record.change.fields
    assert fields.parent is not None
    assert fields.name is not None
    target = _below(path_of(fields.parent), fields.name)
    if fields.exchange:
        return f"exchange with {target}"
    return f"rename to {fields.name}" if fields.parent == fields.old_parent else f"move to {target}"


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}".lstrip("/")


_WORDS = {"mode": "permissions", "uid": "owner", "gid": "group", "mtime_ns": "times", "atime_ns": "times"}


def _attributes(attributes: Attributes, dropped: Iterable[str]) -> list[str]:
    """What a change sets, each once."""
    found = [word for name, word in _WORDS.items() if getattr(attributes, name) is not None]
    return list(dict.fromkeys((*found, *attributes.xattrs, *dropped))) or ["attributes"]
