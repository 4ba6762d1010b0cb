"""What the mountpoint shows, remembered from the last time the portal told: so that a mount starts without the network.

Who uses: `compose`. One small file beside the outbox. It blocks, for a disk's time.
"""

from __future__ import annotations

import json
from pathlib import Path

from bitcasafs.atomic import write_file
from bitcasafs.errors import NotFound
from bitcasafs.values.items import Item, Kind, Listing, NodeId, RootKind

_NAME = "root.json"
ALL_ROOTS = Item(name="", path="/", kind=Kind.FOLDER)
"""The portal's own root: the drive beside its read-only mirrors."""


def choose_root(roots: Listing, *, all_roots: bool) -> Item:
    """The drive among the portal's roots, or what holds them all. NotFound: this portal has no drive."""
    if all_roots:
        return ALL_ROOTS
    for item in roots.items:
        if item.root is RootKind.DRIVE:
            return item
    raise NotFound("this portal shows no drive to this user")


def read_root(account: Path) -> Item | None:
    """None: never mounted before, or the file is not readable."""
    try:
        document = json.loads((account / _NAME).read_bytes())
        node = document["node"]
        return Item(
            name=str(document["name"]),
            path=str(document["path"]),
            kind=Kind.FOLDER,
            node=None if node is None else NodeId(str(node)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_root(account: Path, root: Item) -> None:
    """Durable on return; nothing is written when it is what stands there."""
    if read_root(account) == Item(name=root.name, path=root.path, kind=Kind.FOLDER, node=root.node):
        return
    document = {"name": root.name, "path": root.path, "node": root.node}
    write_file(account / _NAME, json.dumps(document).encode("ascii"))
