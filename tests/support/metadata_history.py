"""What the table of changes says, read and replayed by a reader that knows nothing but its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from bitcasafs.server.metadata.schema import changes, drives
from tests.support.metadata import Scene


@dataclass(frozen=True, slots=True)
class Change:
    cursor: int
    kind: str
    node: int
    parent: int | None
    name: str | None
    from_path: str | None
    key: str | None
    at_ns: int


_CHANGES = (
    select(
        changes.c.cursor,
        changes.c.kind,
        changes.c.node,
        changes.c.parent,
        changes.c.name,
        changes.c.from_path,
        changes.c.key,
        changes.c.at_ns,
    )
    .join_from(changes, drives)
    .order_by(changes.c.cursor)
)


def history(scene: Scene) -> list[Change]:
    """All changes of the scene's drive, in order."""
    with scene.metadata.database.reading() as connection:
        rows: list[Any] = list(connection.execute(_CHANGES.where(drives.c.user == scene.user)))
        return [Change(*row) for row in rows]


def replayed(scene: Scene) -> set[str]:
    """The paths that exist after every change has been applied in order: a put gives its node this one name, and
    takes the name from whoever had it; a gone takes the name away, and with it all that hangs below."""
    with scene.metadata.database.reading() as connection:
        root = connection.execute(select(drives.c.root).where(drives.c.user == scene.user)).scalar_one()
    places: dict[int, tuple[int, str]] = {}
    for change in history(scene):
        if change.parent is None or change.name is None:
            continue
        place = (change.parent, change.name)
        for node in [node for node, taken in places.items() if taken == place or node == change.node]:
            del places[node]
        if change.kind == "put":
            places[change.node] = place
    below: dict[int, list[tuple[str, int]]] = {}
    for node, (parent, name) in places.items():
        below.setdefault(parent, []).append((name, node))

    def paths(folder: int, prefix: str) -> set[str]:
        found: set[str] = set()
        for name, node in below.get(folder, []):
            found |= {f"{prefix}{name}"} | paths(node, f"{prefix}{name}/")
        return found

    return paths(root, "")
