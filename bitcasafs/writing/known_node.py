"""Nodes that unsent changes name, as the outbox keeps them: how they are found again after a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bitcasafs.values.items import Kind, NodeId
from bitcasafs.writing.change import Number, Record
from bitcasafs.writing.schema import unusable

REMEMBER = "INSERT OR REPLACE INTO nodes (number, node, parent, name, path, kind) VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node that some change names, as it was last seen on the portal."""

    number: Number
    node: NodeId | None
    parent: Number | None
    name: str
    path: str | None
    kind: Kind

    @property
    def row(self) -> tuple[int, str | None, int | None, str, str | None, str]:
        """For REMEMBER."""
        return self.number, self.node, self.parent, self.name, self.path, self.kind.value


def read_nodes(database: sqlite3.Connection, path: Path) -> list[KnownNode]:
    """All, by number. ConfigError: the table cannot be understood."""
    try:
        rows = database.execute("SELECT number, node, parent, name, path, kind FROM nodes ORDER BY number")
        return [KnownNode(n, NodeId(i) if i else None, p, name, path, Kind(k)) for n, i, p, name, path, k in rows]
    except (sqlite3.DatabaseError, ValueError) as error:
        raise unusable(path, "understood", error) from error


def needed_nodes(known: Mapping[Number, KnownNode], records: Iterable[Record]) -> set[Number]:
    """Those that a change names, the folders that lead to them, and the highest: its number and those below it are
    never given to another node.
    """
    needed: set[Number] = set()
    for record in records:
        for number in (record.change.node, *record.named):
            one = known.get(number)
            while one is not None and one.number not in needed:
                needed.add(one.number)
                one = None if one.parent is None else known.get(one.parent)
    needed.add(max(known, default=0))
    return needed
