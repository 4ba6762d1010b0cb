"""The file system: its families of operations, built together. No method of its own: callers name the family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from bitcasafs.backoff import Backoff
from bitcasafs.reading.blocks import Blocks
from bitcasafs.reading.reader import Reader
from bitcasafs.remote.interface import Remote
from bitcasafs.values.items import Item
from bitcasafs.vfs.attributes import AttributeCalls
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.files import Files
from bitcasafs.vfs.folders import Folders
from bitcasafs.vfs.handles import Handles
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.names import Names
from bitcasafs.vfs.nodes import Nodes
from bitcasafs.vfs.notices import Notices
from bitcasafs.vfs.overlay import Overlay
from bitcasafs.vfs.problems import Problems
from bitcasafs.vfs.removal import Removal
from bitcasafs.vfs.tree import Tree
from bitcasafs.vfs.view import Owner, View
from bitcasafs.writing.change import State
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.scheduler import Scheduler
from bitcasafs.writing.sender import Sender


@dataclass(frozen=True, slots=True)
class Settings:
    owner: Owner
    ttl_seconds: float = 10.0
    timeout_seconds: float = 15.0
    uploads: int = 4
    disk: Path | None = None
    """A folder of the disk that holds the drive, when it is this machine's."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A change that the portal refused, or that was never finished: kept until somebody decides."""

    id: int
    path: str
    reason: str
    staged: str | None


@dataclass(frozen=True, slots=True)
class FileSystem:
    names: Names
    files: Files
    folders: Folders
    attributes: AttributeCalls
    nodes: Nodes
    notices: Notices
    deciding: Problems
    scheduler: Scheduler
    outbox: Outbox

    def problems(self) -> Iterator[Problem]:
        for record in self.outbox:
            if record.state is State.PROBLEM:
                path = self.nodes.path(record.change.node)
                yield Problem(record.id, path, record.reason or "", record.staged)


def build(
    remote: Remote,
    root: Item,
    outbox: Outbox,
    contents: Contents,
    ledger: Ledger,
    settings: Settings,
    *,
    nursery: trio.Nursery,
    now_ns: Callable[[], int],
    random_unit: Callable[[], float],
    blocks: Blocks | None = None,
) -> FileSystem:
    """The objects over one remote, outbox, staging folder and ledger. `root` is the item that the mountpoint shows;
    `nursery` holds what reads ahead; `blocks` keeps what was read (None: nothing does). Starts nothing: the caller runs
    `scheduler.run`.
    """
    nodes = Nodes(ledger)
    nodes.seed(root, outbox.known_nodes())
    listings = Listings(
        remote, nodes, ttl_seconds=settings.ttl_seconds, pending=lambda number: bool(outbox.of_node(number))
    )
    tree = Tree(remote, nodes, listings, ledger, outbox, contents)
    scheduler = Scheduler(
        outbox,
        contents,
        Sender(remote, contents, nodes),
        tree,
        backoff=Backoff(attempts=None),
        random_unit=random_unit,
        uploads=settings.uploads,
        timeout_seconds=settings.timeout_seconds,
    )
    core = Core(
        remote=remote,
        nodes=nodes,
        listings=listings,
        overlay=Overlay(listings, outbox),
        view=View(listings, ledger, outbox, contents, settings.owner, now_ns()),
        tree=tree,
        handles=Handles(),
        contents=contents,
        outbox=outbox,
        scheduler=scheduler,
        make_reader=lambda content: Reader(remote, content, nursery, blocks),
        now_ns=now_ns,
    )
    files = Files(core)
    names = Names(core, files, Removal(core))
    attributes = AttributeCalls(core, files, disk=settings.disk)
    deciding = Problems(outbox, contents, nodes, listings, tree, path=nodes.path, at_once=scheduler.at_once)
    return FileSystem(names, files, Folders(core), attributes, nodes, Notices(), deciding, scheduler, outbox)
