"""Settles what the portal refused since another machine was there first (`writing.scheduler.Resolver`).

Looks at the portal, asks the policy (`writing.conflicts`), and turns the change into what the policy says: the records,
nodes and listings of this mount, in one step between two awaits. Every verdict is told to the log and to status.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from bitcasafs.errors import BitcasaError, Loop, NotFolder, NotFound, Refused, Unavailable
from bitcasafs.values.items import Item
from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.looking import Found, Looking
from bitcasafs.vfs.nodes import Node, Nodes
from bitcasafs.vfs.notices import Notices
from bitcasafs.vfs.overlay import Overlay
from bitcasafs.vfs.tree import Tree
from bitcasafs.writing.change import Change, ChangeKind, Fields, Number, Record, State
from bitcasafs.writing.conflicts import MOST_ATTEMPTS, Verdict, decide, is_conflict
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.copy_names import conflict_name
from bitcasafs.writing.laying import laid_over
from bitcasafs.writing.outbox import Outbox, new_key
from bitcasafs.writing.scheduler import Handled

log = logging.getLogger(__name__)
HANDLED = Handled.HANDLED


@dataclass(frozen=True, slots=True)
class CopyNames:
    """What names the copies: this machine, and the day where the user is."""

    host: str
    today: Callable[[], date]


class Conflicts:
    """Implements `writing.scheduler.Resolver`."""

    def __init__(
        self,
        looking: Looking,
        nodes: Nodes,
        listings: Listings,
        overlay: Overlay,
        tree: Tree,
        outbox: Outbox,
        contents: Contents,
        notices: Notices,
        naming: CopyNames,
    ) -> None:
        self._looking, self._nodes, self._listings = looking, nodes, listings
        self._overlay, self._tree, self._outbox, self._contents = overlay, tree, outbox, contents
        self._notices, self._naming = notices, naming
        self._tries: Counter[int] = Counter()
        """By record. Attempts that met an absent portal do not count: they must not end in a problem."""

    async def resolve(self, record: Record, error: Refused) -> Item | BitcasaError | Handled | None:
        """As `Resolver` has it. Waits for the portal's answers."""
        if not is_conflict(error):
            return error
        self._tries[record.id] += 1
        if self._nodes.get(record.change.node) is None:
            return self._of_nothing(record, error)
        try:
            found = await self._looking.look(record)
        except (NotFound, NotFolder):
            if self._tries[record.id] > MOST_ATTEMPTS:
                return error
            raise Unavailable("it was changed while it was looked at", applied=False) from None
        current, node = self._outbox.get(record.id), self._nodes.get(record.change.node)
        if current is None:
            return HANDLED
        if node is None:
            return self._of_nothing(record, error)
        if found.inside:
            return Loop("a folder cannot move into itself")
        verdict = decide(replace(current, attempts=self._tries[record.id]), found.seen)
        path = self._overlay.path(node.number)
        log.info("%s of %s was refused (%s): %s", current.change.kind.value, path, error, verdict.value)
        if verdict is Verdict.PROBLEM:
            return error
        if verdict is Verdict.DONE:
            return found.seen.at_name if found.seen.same else found.seen.node
        with self._outbox.together():
            self._carry_out(verdict, current, node, found, path)
        return HANDLED

    def _of_nothing(self, record: Record, error: Refused) -> BitcasaError | Handled:
        """The node is not known any more: what changes no content has nothing to change."""
        if record.staged is not None:
            return error
        if self._outbox.get(record.id) is not None:
            self._outbox.remove(record.id)
        return HANDLED

    def _carry_out(self, verdict: Verdict, record: Record, node: Node, found: Found, path: str) -> None:
        match verdict:
            case Verdict.COPY:
                self._copy(record, node, found, path)
            case Verdict.AGAIN:
                self._again(record, node, found, path)
            case Verdict.FOLLOW:
                self._follow(record, node, found, path)
            case Verdict.UNBOUND:
                if not record.change.fields.exchange:  # what was to be exchanged may be elsewhere by now
                    self._let_replaced_go(record)
                self._try_again(record, replace(record.change.fields, over=None, over_node=None, exchange=False))
            case Verdict.RESTORE:
                self._outbox.remove(record.id)
                self._tree.restore(node)
                why = "it is not empty any more" if record.change.fields.folder else "another machine has changed it"
                self._notices.add(path, f"was not deleted: {why}")
            case _:
                self._drop(record, node, path)

    # --- the record as it is tried again ---------------------------------------------------------------------------

    def _try_again(self, record: Record, fields: Fields, **what: object) -> Record:
        """The change with other fields, another request, in its old place in the order."""
        change = replace(record.change, fields=replace(fields, replacing=None), **what)  # type: ignore[arg-type]
        again = record.moved(State.READY) if record.state is State.SENDING else record
        return self._outbox.update(replace(again, change=change, key=new_key(), unsure=False))

    def _made_anew(self, record: Record, node: Node, spot: tuple[Number, str]) -> None:
        """A new node of the same number at `spot`, with what the record has; nothing of it is bound to the portal."""
        fields = replace(record.change.fields, parent=spot[0], name=spot[1], over=None, over_node=None)
        if fields.base_id is not None and fields.base_version is None:
            fields = replace(fields, base_version=record.change.base)
        was = (node.parent, node.name)
        self._nodes.detach(node)
        node.parent, node.name, node.unlinked, node.superseded = spot[0], spot[1], False, False
        self._tree.remember(node.number)
        self._try_again(record, fields, base=None)
        for later in self._outbox.of_node(node.number):
            if later.id > record.id and later.state is not State.SENDING:
                if later.change.kind is ChangeKind.CONTENT and later.change.base is not None:
                    self._outbox.update(replace(later, change=replace(later.change, base=None)))
                self._rename_start(later, was, spot)

    def _rename_start(self, record: Record, was: tuple[Number | None, str], now: tuple[Number, str]) -> None:
        """A later move or delete begins where the node is led by then."""
        fields = record.change.fields
        if (fields.old_parent, fields.old_name) == was:
            fields = replace(fields, old_parent=now[0], old_name=now[1])
            self._outbox.update(replace(record, change=replace(record.change, fields=fields)))

    def _let_replaced_go(self, record: Record) -> None:
        """What was to be replaced is not there any more."""
        over = self._replaced(record)
        if over is not None:
            self._tree.gone(over)

    def _replaced(self, record: Record) -> Node | None:
        over = record.change.fields.over_node
        return None if over is None else self._nodes.get(over)

    # --- verdicts ---------------------------------------------------------------------------------------------------

    def _copy(self, record: Record, node: Node, found: Found, path: str) -> None:
        folder, name = found.spot
        taken = conflict_name(name, self._naming.host, self._naming.today(), lambda one: self._is_taken(folder, one))
        spot = (folder, taken)
        over = self._replaced(record)
        if over is not None:
            self._tree.restore(over)
        fields = record.change.fields
        if record.change.kind is ChangeKind.MOVE:
            self._try_again(record, replace(fields, name=taken, over=None, over_node=None, exchange=False))
            for later in self._outbox.of_node(node.number):
                if later.id > record.id and later.state is not State.SENDING:
                    self._rename_start(later, found.spot, spot)
        else:
            self._made_anew(record, node, spot)
        self._show(found, folder, name)
        self._notices.add(path, f"another machine has this name too; ours is {taken!r}")

    def _is_taken(self, folder: Number, name: str) -> bool:
        return self._overlay.find_known(folder, name) is not None

    def _show(self, found: Found, folder: Number, name: str) -> None:
        """What has the name there is seen here at once."""
        there = found.seen.at_name
        if there is None:
            self._listings.expire(folder)
            return
        (theirs,) = self._nodes.meet([there], folder)
        self._listings.edit(folder, name, theirs.number)

    def _again(self, record: Record, node: Node, found: Found, path: str) -> None:
        for folder in found.gone_folders:
            self._make_folder_again(folder)
        if record.change.kind is not ChangeKind.MOVE:
            self._made_anew(record, node, found.spot)
        elif found.seen.node is not None:
            self._try_again(record, record.change.fields)
        elif any(one.change.kind is ChangeKind.MKDIR for one in self._outbox.of_node(node.number)):
            self._outbox.remove(record.id)  # for what is in it, it is being made under this very name
            return
        elif node.item is not None and node.item.is_folder:
            fields = Fields(parent=found.spot[0], name=found.spot[1], attributes=node.item.attributes)
            self._nodes.detach(node)
            node.parent, node.name = found.spot
            self._listings.drop(node.number)
            self._try_again(record, fields, kind=ChangeKind.MKDIR)
        else:
            self._outbox.remove(record.id)
            content = self._contents.record(node.number)
            assert content is not None
            self._made_anew(content, node, found.spot)
            content = self._contents.record(node.number)
            assert content is not None
            self._contents.retarget(content, found.spot, record.change.fields.over, record.change.fields.over_node)
        self._notices.add(path, "was deleted by another machine while it was changed here; it is made again")

    def _make_folder_again(self, number: Number) -> None:
        folder = self._nodes[number]
        spot = self._overlay.spot(number) or (folder.parent, folder.name)
        if spot[0] is None:
            return
        attributes = folder.item.attributes if folder.item is not None else Fields().attributes
        self._nodes.detach(folder)
        folder.parent, folder.name, folder.unlinked = spot[0], spot[1], False
        self._listings.drop(number)
        self._tree.remember(number)
        self._outbox.append(
            Change(ChangeKind.MKDIR, number, None, Fields(parent=spot[0], name=spot[1], attributes=attributes))
        )

    def _follow(self, record: Record, node: Node, found: Found, path: str) -> None:
        assert found.seen.node is not None
        if found.home is not None:
            if node.parent is not None:
                self._listings.edit(node.parent, node.name, None)
            self._nodes.arrived(node, found.seen.node, found.home)
            self._listings.edit(found.home, node.name, node.number)
            self._tree.remember(node.number)
        self._try_again(record, record.change.fields)
        self._notices.add(path, f"another machine has renamed it to {node.name!r}; what was written here goes there")

    def _drop(self, record: Record, node: Node, path: str) -> None:
        self._outbox.remove(record.id)
        content = self._contents.record(node.number)
        if record.change.kind is ChangeKind.ATTRIBUTES and content is not None:
            if content.quiet:  # that is about to make it again, and takes these along
                fields = content.change.fields
                attributes = laid_over(record.change.fields.attributes, fields.attributes, fields.dropped)
                self._contents.change_fields(content, replace(fields, attributes=attributes))
            return
        over = self._replaced(record)
        if over is not None:
            self._tree.restore(over)
        if node.parent is not None:
            self._listings.edit(node.parent, node.name, None)
            self._listings.expire(node.parent)
        self._tree.gone(node)
        self._notices.add(path, "was deleted by another machine")
