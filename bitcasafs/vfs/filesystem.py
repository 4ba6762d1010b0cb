"""The file system: its families of operations, built together. No method of its own: callers name the family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import trio

from bitcasafs.backoff import Backoff
from bitcasafs.reading.bases import Bases
from bitcasafs.reading.blocks import Blocks
from bitcasafs.reading.reader import Reader
from bitcasafs.remote.interface import Remote
from bitcasafs.remote.reach import ReachRemote
from bitcasafs.values.items import Item
from bitcasafs.vfs.attributes import AttributeCalls
from bitcasafs.vfs.conflicts import Conflicts, CopyNames
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.files import Files, Waits
from bitcasafs.vfs.filling import Filling
from bitcasafs.vfs.folders import Folders
from bitcasafs.vfs.handles import Handles
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.vfs.listings import Listings
from bitcasafs.vfs.looking import Looking
from bitcasafs.vfs.names import Names
from bitcasafs.vfs.nodes import Nodes
from bitcasafs.vfs.notices import Notices
from bitcasafs.vfs.overlay import Overlay
from bitcasafs.vfs.problems import Problems
from bitcasafs.vfs.removal import Removal
from bitcasafs.vfs.staying import StayingOpen
from bitcasafs.vfs.staying_here import StayingHere
from bitcasafs.vfs.strict import Strict
from bitcasafs.vfs.tree import Tree
from bitcasafs.vfs.view import Owner, View
from bitcasafs.writing.change import State
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.deliveries import Deliveries
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.scheduler import Scheduler
from bitcasafs.writing.sender import Sender
from bitcasafs.writing.space import Space


@dataclass(frozen=True, slots=True)
class Settings:
    owner: Owner
    ttl_seconds: float = 10.0
    timeout_seconds: float = 15.0
    uploads: int = 4
    settle_seconds: float = 1.0
    waits: Waits = Waits()
    strict: bool = False
    local: tuple[str, ...] = ()
    """Globs of names that are never sent."""
    host: str = "this machine"
    """Names conflict copies."""
    disk: Path | None = None
    """A folder of the disk that holds the drive, when it is this machine's."""
    staged: Path | None = None
    """The folder of which the disk must not become full; None: nobody looks."""
    keep_free_bytes: int | None = None


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
    overlay: Overlay
    notices: Notices
    deliveries: Deliveries
    deciding: Problems
    scheduler: Scheduler
    staying: StayingOpen
    outbox: Outbox

    def problems(self) -> Iterator[Problem]:
        for record in self.outbox:
            if record.state is State.PROBLEM:
                path = self.overlay.path(record.change.node)
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
    `scheduler.run` and `staying.run`.
    """
    remote = reach = ReachRemote(remote, settings.timeout_seconds)
    nodes = Nodes(ledger, pending=lambda number: bool(outbox.of_node(number)))
    nodes.seed(root, outbox.known_nodes())
    listings = Listings(remote, nodes, nursery, ledger, ttl_seconds=settings.ttl_seconds, pending=outbox.concerns)
    tree = Tree(remote, nodes, listings, ledger, outbox, contents)
    tree.take_up()
    overlay, notices = Overlay(listings, nodes, outbox), Notices()
    looking = Looking(remote, nodes, outbox, contents)
    naming = CopyNames(settings.host, lambda: _day(now_ns()))
    conflicts = Conflicts(looking, nodes, listings, overlay, tree, outbox, contents, notices, naming)
    bases = Bases(remote, blocks)
    deliveries = Deliveries(outbox, outbox.wake, timeout_seconds=settings.timeout_seconds)
    sender = Sender(remote, contents, nodes, bases.fetch)
    scheduler = _scheduler(outbox, contents, deliveries, sender, tree, conflicts, settings, random_unit)
    core = Core(
        remote=remote,
        nodes=nodes,
        listings=listings,
        overlay=overlay,
        view=View(listings, ledger, outbox, contents, settings.owner, now_ns()),
        tree=tree,
        handles=Handles(),
        contents=contents,
        outbox=outbox,
        deliveries=deliveries,
        scheduler=scheduler,
        space=Space(settings.staged, settings.keep_free_bytes, lambda: scheduler.rate.per_second(trio.current_time())),
        make_reader=lambda content: Reader(remote, content, nursery, blocks),
        now_ns=now_ns,
    )
    files = Files(core, Filling(contents, core.space, bases, reach, nursery), settings.waits)
    strict = Strict(core, files) if settings.strict else None
    names = Names(core, files, Removal(core), strict, StayingHere(outbox, settings.local))
    attributes = AttributeCalls(core, files, disk=settings.disk)
    deciding = Problems(outbox, contents, nodes, listings, tree, path=overlay.path, at_once=deliveries.at_once)
    return FileSystem(
        names, files, Folders(core), attributes, nodes, overlay, notices, deliveries, deciding, scheduler,
        StayingOpen(core, files), outbox,
    )  # fmt: skip


def _scheduler(
    outbox: Outbox,
    contents: Contents,
    deliveries: Deliveries,
    sender: Sender,
    tree: Tree,
    conflicts: Conflicts,
    settings: Settings,
    random_unit: Callable[[], float],
) -> Scheduler:
    return Scheduler(
        outbox,
        contents,
        deliveries,
        sender,
        tree,
        conflicts,
        backoff=Backoff(attempts=None),
        random_unit=random_unit,
        uploads=settings.uploads,
        settle_seconds=settings.settle_seconds,
    )


def _day(wall_ns: int) -> date:
    """Where the user is."""
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).astimezone().date()
