"""What the families of operations share: one drive's tree, its outbox and the way to the portal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bitcasafs.reading.reader import Reader
from bitcasafs.remote.interface import ContentRef, Remote
from bitcasafs.vfs.handles import Handles
from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.nodes import Nodes
from bitcasafs.vfs.overlay import Overlay
from bitcasafs.vfs.tree import Tree
from bitcasafs.vfs.view import View
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.deliveries import Deliveries
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.scheduler import Scheduler
from bitcasafs.writing.space import Space


@dataclass(frozen=True, slots=True)
class Core:
    remote: Remote
    nodes: Nodes
    listings: Listings
    overlay: Overlay
    view: View
    tree: Tree
    handles: Handles
    contents: Contents
    outbox: Outbox
    deliveries: Deliveries
    scheduler: Scheduler
    space: Space
    make_reader: Callable[[ContentRef], Reader]
    now_ns: Callable[[], int]
