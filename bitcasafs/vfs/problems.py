"""What a person decides about changes that could not be sent: look, try again, take the content out, give up.

Who uses: the mount, for `bitcasafs outbox`. Nothing here waits; every step is durable when it has returned. Content is
given up nowhere else, and only when somebody names its number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bitcasafs.errors import BitcasaError, Stale
from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.nodes import Node, Nodes
from bitcasafs.vfs.tree import Tree
from bitcasafs.vfs.unsent import Unsent, place, told, what
from bitcasafs.writing.change import ChangeKind, Number, Record, State
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.ranges import Ranges

_NAMED = 5
"""So many of what waits are named in a refusal."""
_GONE = "its staged file is gone"
_SHORT = "its staged file is shorter than what was written"


@dataclass(frozen=True, slots=True)
class StagedContent:
    """Where the content of a change lies. `written`: what there is of it, half open, where the rest is not here (it is
    to come from the version below it); None: all is.
    """

    path: Path
    size_bytes: int
    written: tuple[tuple[int, int], ...] | None


class Problems:
    """`path`: where users see a node. `at_once`: the back-off of these changes is forgotten."""

    def __init__(
        self,
        outbox: Outbox,
        contents: Contents,
        nodes: Nodes,
        listings: Listings,
        tree: Tree,
        *,
        path: Callable[[Number], str],
        at_once: Callable[[Iterable[int]], None],
    ) -> None:
        self._outbox, self._contents, self._nodes = outbox, contents, nodes
        self._listings, self._tree = listings, tree
        self._path, self._at_once = path, at_once

    # --- looking --------------------------------------------------------------------------------------------------

    def list(self, *, everything: bool = False) -> Iterator[Unsent]:
        """The problems, oldest first; with `everything` also what is still to be sent. Not to be kept over an await."""
        return (self.told(record) for record in self._outbox if everything or record.state is State.PROBLEM)

    def told(self, record: Record) -> Unsent:
        return told(record, self._path)

    # --- trying again ---------------------------------------------------------------------------------------------

    def retry(self, numbers: Collection[int] | None) -> Sequence[Unsent]:
        """These problems (None: all) go to the portal again, at once, as if it were the first time; with their keys,
        because they are the same requests. Answers what became of each: what cannot be sent, because its staged file is
        damaged, stays a problem. BitcasaError: a number is of no problem; then nothing is done. NoSpace.
        """
        if numbers is None:
            records = [record for record in self._outbox if record.state is State.PROBLEM]
        else:
            records = [self._problem(number) for number in sorted(set(numbers))]
        retried = [self._retried(record) for record in records]
        self._at_once(record.id for record in retried if record.state is State.READY)
        return [self.told(record) for record in retried]

    def _retried(self, record: Record) -> Record:
        lost = self._lost(record)
        if lost is not None:
            return self._outbox.update(replace(record, reason=lost))
        return self._outbox.update(record.moved(State.READY, reason=None, attempts=0))

    def _problem(self, number: int) -> Record:
        record = self._outbox.get(number)
        if record is None:
            raise BitcasaError(f"there is no change {number}; it was sent, or discarded")
        if record.state is not State.PROBLEM:
            raise BitcasaError(
                f"change {number} ({place(record, self._path)}) is no problem: it is sent when its turn comes"
            )
        return record

    def _lost(self, record: Record) -> str | None:
        """What is wrong with the staged file of a change."""
        if record.staged is None:
            return None
        try:
            size = self._contents.staged(record).path.stat().st_size
        except FileNotFoundError:
            return _GONE
        return _SHORT if size < (record.change.fields.size_bytes or 0) else None

    # --- taking the content out -----------------------------------------------------------------------------------

    def content(self, number: int) -> StagedContent:
        """Where the content of a problem lies. BitcasaError: no such problem, or it has no content (any more)."""
        record = self._problem(number)
        if record.staged is None:
            raise BitcasaError(f"change {number} ({what(record, self._path)}) has no content to export")
        if self._lost(record) == _GONE:
            raise BitcasaError(f"there is nothing to export of change {number}: {_GONE}")
        staged = self._contents.staged(record)
        size = staged.path.stat().st_size if self._lost(record) else staged.size_bytes
        holes = staged.holes(0, size)
        return StagedContent(staged.path, size, _between(holes, size) if holes else None)

    # --- giving up ------------------------------------------------------------------------------------------------

    def plan(self, numbers: Collection[int], *, recursive: bool = False) -> Sequence[Unsent]:
        """What would go with these problems. BitcasaError as `discard`."""
        return [self.told(record) for record in self._doomed(numbers, recursive=recursive)]

    def discard(self, numbers: Collection[int], *, recursive: bool = False) -> Sequence[Unsent]:
        """Forget these problems, with their content; what the portal has is seen again. Answers what was forgotten.

        What only a new item made possible (what waits to be put into a folder) goes with it, where that is `recursive`
        or named as well. BitcasaError: it is neither, or a number is of no problem; then nothing is done. NoSpace.
        """
        doomed = self._doomed(numbers, recursive=recursive)
        found = [self.told(record) for record in doomed]
        # What is in a folder before the folder: a kill between two leaves nothing without its folder.
        for record in reversed(doomed):
            if self._outbox.get(record.id) is not None:
                self._forget(record)
        return found

    def _doomed(self, numbers: Collection[int], *, recursive: bool) -> Sequence[Record]:
        """A new folder before what is in it."""
        named = [record for number in sorted(set(numbers)) if (record := self._outbox.get(number)) is not None]
        roots = [record for record in named if record.state is State.PROBLEM]
        found = self._with_what_waits(roots)
        for number in numbers:
            if number not in found:
                self._problem(number)  # says why it cannot be discarded
        others = [record for record in found.values() if record.id not in set(numbers)]
        if others and not recursive:
            names = ", ".join(place(record, self._path) for record in others[:_NAMED])
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            raise BitcasaError(f"what waits for it would be lost as well: {names}{more}; --recursive discards all that")
        return list(found.values())

    def _with_what_waits(self, roots: Iterable[Record]) -> dict[int, Record]:
        given = {record.id for record in roots}
        found: dict[int, Record] = {}
        left = list(roots)[::-1]
        while left:
            record = left.pop()
            if record.id in found:
                continue
            found[record.id] = record
            if self._ends_with(record, given):
                left += self._outbox.of_node(record.change.node)
                left += [other for other in self._outbox.naming(record.change.node) if _needs(other, record)]
        return found

    def _ends_with(self, record: Record, given: Collection[int]) -> bool:
        """Without this change there is no such item: not on the portal, and nothing else makes it."""
        node = self._node(record.change.node)
        if node is not None and node.item is not None:
            return False
        match record.change.kind:
            case ChangeKind.MKDIR | ChangeKind.SYMLINK:
                return True
            case ChangeKind.CONTENT:
                return all(other.id in given for other in self._contents.records(record.change.node))
            case _:
                return False

    def _forget(self, record: Record) -> None:
        change, fields = record.change, record.change.fields
        node = self._node(change.node)
        is_last = change.kind is ChangeKind.CONTENT and self._contents.records(change.node) == [record]
        if change.kind is ChangeKind.CONTENT and not (is_last and node is not None and node.item is None):
            self._contents.drop(record)
        elif change.kind is not ChangeKind.CONTENT:
            self._outbox.remove(record.id)
        if (
            node is not None
            and node.item is None
            and (is_last or change.kind in (ChangeKind.MKDIR, ChangeKind.SYMLINK))
        ):
            self._listings.drop(node.number)
            self._tree.gone(node)  # with its content, which open handles keep
        elif node is not None:
            self._show_portals(node, change.kind)
        replaced = None if fields.over_node is None else self._node(fields.over_node)
        if replaced is not None and not fields.exchange:
            self._tree.restore(replaced)
        for folder in (fields.parent, fields.old_parent):
            if folder is not None:
                self._listings.expire(folder)

    def _show_portals(self, node: Node, kind: ChangeKind) -> None:
        """What was laid over a node that is on the portal is not there any more."""
        if kind is ChangeKind.CONTENT:
            node.pages_valid, node.modified_ns = False, None
        if kind in (ChangeKind.DELETE, ChangeKind.MOVE):
            self._tree.restore(node)
        elif node.parent is not None:
            self._listings.expire(node.parent)

    def _node(self, number: Number) -> Node | None:
        try:
            return self._nodes[number]
        except Stale:
            return None


def _needs(other: Record, made: Record) -> bool:
    """It does something in the folder, or with the item, that `made` would have made; more than replace it."""
    fields = other.change.fields
    return made.change.node in (fields.parent, fields.old_parent) or fields.exchange


def _between(holes: Iterable[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    return tuple(Ranges(holes).holes(0, size))
