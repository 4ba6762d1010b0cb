"""A folder's rows, or a window of them: one indexed query, read on while the rows are sent.

A listing of 100,000 items as values would take more memory than the server may have, so a long one is handed out while
it is read, and its snapshot lives as long; a short one is read at once and holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, CursorResult, bindparam, func, select

from bitcasafs.server.metadata.interface import Column
from bitcasafs.server.metadata.rows import NODE_COLUMNS, NODES_WITH_CONTENT, Node, item_of, read_node
from bitcasafs.server.metadata.schema import entries, nodes, versions
from bitcasafs.server.metadata.tokens import Tokens
from bitcasafs.server.metadata.view import View
from bitcasafs.values.items import Item

FETCH_ROWS: Final = 1_000
"""Rows as values at one time. A listing that is not longer holds no connection."""

LISTING = (
    select(entries.c.name, *NODE_COLUMNS)
    .select_from(entries.join(NODES_WITH_CONTENT, nodes.c.id == entries.c.node))
    .where(entries.c.parent == bindparam("folder"))
)
COUNT = select(func.count()).select_from(entries).where(entries.c.parent == bindparam("folder"))
_SORTED_BY: Final[dict[Column, ColumnElement[Any]]] = {
    Column.NAME: entries.c.name,
    Column.MTIME: nodes.c.mtime_ns,
    Column.SIZE: func.coalesce(versions.c.size_bytes, 0),
}


class FolderItems:
    """The items of one query; see `interface.Items`."""

    def __init__(
        self, connection: Connection, rows: CursorResult[Any], view: View, folder: Node, tokens: Tokens
    ) -> None:
        """Owns the connection from now on."""
        self._connection = connection
        self._rows = rows
        self._folder = folder
        self._path = view.path(folder)
        self._mirrored = view.drives[folder.drive].mirrored
        self._tokens = tokens
        self._fetched: list[Any] = []
        self._next = 0
        self._more = True
        self._fetch()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._next == len(self._fetched):
            if not self._more:
                raise StopIteration
            self._fetch()
            if not self._fetched:
                raise StopIteration
        row = self._fetched[self._next]
        self._next += 1
        return item_of(
            read_node(row[1:]),
            row[0],
            f"{self._path}/{row[0]}",
            self._folder.token,
            mirrored=self._mirrored,
            tokens=self._tokens,
        )

    def close(self) -> None:
        self._more = False
        self._connection.close()

    def _fetch(self) -> None:
        try:
            self._fetched, self._next = list(self._rows.fetchmany(FETCH_ROWS)), 0
        except BaseException:
            self.close()
            raise
        if len(self._fetched) < FETCH_ROWS:
            self.close()


def count(connection: Connection, folder: Node) -> int:
    return int(connection.execute(COUNT, {"folder": folder.id}).scalar_one())


def select_rows(
    connection: Connection, folder: Node, start: int, stop: int | None, column: Column, *, ascending: bool
) -> CursorResult[Any]:
    """The rows [start, stop) of the folder in that order; `stop` None: to the end."""
    names = entries.c.name
    by = _SORTED_BY[column]
    query = LISTING.order_by(by if ascending else by.desc())
    if column is not Column.NAME:
        query = query.order_by(names)
    if stop is not None:
        query = query.limit(stop - start)
    if start:
        query = query.offset(start)
    return connection.execution_options(stream_results=True).execute(query, {"folder": folder.id})
