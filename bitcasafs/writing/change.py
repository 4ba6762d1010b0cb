"""One mutation as a frozen value, and the record that the outbox keeps of it.

A change names nodes by their number, never by path: a rename by us, by a conflict or by another machine carries pending
changes along, because the path is computed when a change is sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Any

from bitcasafs.values.items import Attributes, IdempotencyKey, Version

Number = int
"""A node's number in this mount: st_ino. Kept in the outbox for nodes that changes name."""


class ChangeKind(enum.Enum):
    CONTENT = "content"
    """A new file, or new content of one. Has staged content; sealed by generations."""
    MKDIR = "mkdir"
    SYMLINK = "symlink"
    MOVE = "move"
    DELETE = "delete"
    ATTRIBUTES = "attributes"


MAKING = frozenset({ChangeKind.CONTENT, ChangeKind.MKDIR, ChangeKind.SYMLINK})


class State(enum.Enum):
    OPEN = "open"
    """Content that was written since it was last sealed; never sent."""
    READY = "ready"
    """May be sent as soon as nothing it depends on is unsent."""
    SENDING = "sending"
    PROBLEM = "problem"
    """The portal said no (reason in the record). Stays until somebody decides."""


NEXT: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.READY, State.PROBLEM}),
    State.READY: frozenset({State.OPEN, State.SENDING}),
    State.SENDING: frozenset({State.READY, State.PROBLEM}),
    State.PROBLEM: frozenset({State.READY, State.OPEN}),
}
"""Legal moves; a record that was sent is removed. After a kill SENDING reads as READY: the key makes that safe."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What a change does, by kind; what a kind does not use stays None.

    CONTENT: parent and name while the node is not on the portal; attributes that go with the content; when sealed
        size_bytes, and of content that lies over a base that is not here: base_id and base_bytes (what to fetch),
        base_limit (how much of it still counts) and written (ranges that do not come from it). `over_node` and `over`:
        the node that a new one replaces under its name, and its version: on the portal it is new content of that
        node, whose history goes on. `replacing`: how far that got on a portal that cannot overwrite
        (`remote.interface.ReplaceStep`), so that it is finished, not begun again, after a kill.
    MKDIR, SYMLINK: parent, name, attributes (with the link's text); SYMLINK: `over_node` and `over` as above; MKDIR:
        `exclusive`: not merged with a folder that is there.
    MOVE: old_parent, old_name, parent, name; `over_node` what it replaces (in version `over`), or exchanges with.
    DELETE: old_parent, old_name; folder.
    ATTRIBUTES: attributes: each that is not None is set.
    CONTENT, ATTRIBUTES: dropped: names of extended attributes that are removed.
    """

    parent: Number | None = None
    name: str | None = None
    old_parent: Number | None = None
    old_name: str | None = None
    over: Version | None = None
    over_node: Number | None = None
    exchange: bool = False
    exclusive: bool = False
    local: bool = False
    """Of what makes a node: it stays on this machine and is never sent."""
    folder: bool = False
    size_bytes: int | None = None
    base_id: str | None = None
    base_bytes: int = 0
    base_limit: int = 0
    base_version: Version | None = None
    """Version of the base where it is not what the content replaces: a conflict copy, what a crash left behind."""
    written: tuple[tuple[int, int], ...] = ()
    attributes: Attributes = Attributes()
    dropped: tuple[str, ...] = ()
    replacing: tuple[str, bool, bool] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A mutation of `node`, made from `base` (None: the node was not on the portal, or its version is not known)."""

    kind: ChangeKind
    node: Number
    base: Version | None
    fields: Fields


@dataclass(frozen=True, slots=True)
class Record:
    """A change in the outbox. `id` orders; `generation` counts seals (0: never); `key` makes repeating safe.

    `unsure`: it was sent and no answer came, so it may be on the portal: it is repeated as it is, with its key, before
    anything else may become of it. `made_ns`: when the change was first made, whatever was sealed since (ns since the
    epoch by this machine's clock; 0: not known).
    """

    id: int
    change: Change
    state: State
    generation: int
    key: IdempotencyKey
    boot_id: str
    synced: bool
    staged: str | None
    attempts: int = 0
    reason: str | None = None
    unsure: bool = False
    made_ns: int = 0

    def moved(self, state: State, **changes: Any) -> Record:
        """The same record in another state. RuntimeError when the table does not allow it."""
        if state is not self.state and state not in NEXT[self.state]:
            raise RuntimeError(f"a change cannot go from {self.state} to {state}")
        return replace(self, state=state, **changes)

    @property
    def quiet(self) -> bool:
        """Nothing of it can be on the portal: it may be changed, or taken back."""
        return self.state is not State.SENDING and not self.unsure and self.change.fields.replacing is None

    @property
    def is_sealed(self) -> bool:
        """It will be sent as it is, unless it is written again before."""
        return self.state in (State.READY, State.SENDING)

    @property
    def makes(self) -> bool:
        """It makes a node that is not on the portal yet (or goes on replacing one there step by step)."""
        return self.change.kind in MAKING and self.change.fields.parent is not None

    @property
    def named(self) -> frozenset[Number]:
        """Nodes that the change names besides its own: its folders, and what it replaces."""
        fields = self.change.fields
        found = (fields.parent, fields.old_parent, fields.over_node)
        return frozenset(number for number in found if number is not None)

    @property
    def places(self) -> frozenset[tuple[Number, str]]:
        """Names (folder, name) that the change takes or gives up."""
        fields = self.change.fields
        found = ((fields.parent, fields.name), (fields.old_parent, fields.old_name))
        return frozenset((folder, name) for folder, name in found if folder is not None and name is not None)
