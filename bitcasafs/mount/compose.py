"""The composition root of a mount: every object is built here, from the configuration, and handed to those that need
it.

Who uses: `run`. Order of building is order of need; nothing is started here but the first question to the portal, which
tells what the mountpoint shows.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from bitcasafs.atomic import make_private_folder
from bitcasafs.clock import SystemClock, boot_id
from bitcasafs.control.client import ask_handover
from bitcasafs.control.registry import Registered, Registry
from bitcasafs.errors import BitcasaError, Locked, Unavailable
from bitcasafs.fuse.guard import Guard
from bitcasafs.fuse.operations import KernelOperations, OperationsWithoutXattrs
from bitcasafs.fuse.session import Session, SessionOptions
from bitcasafs.mount.config import MountConfig
from bitcasafs.mount.embedded import USER, EmbeddedServer
from bitcasafs.mount.root import ALL_ROOTS, choose_root, read_root, write_root
from bitcasafs.reading.blocks import Blocks
from bitcasafs.remote.interface import Remote
from bitcasafs.remote.open import RemoteConfig
from bitcasafs.remote.timing import TimingRemote
from bitcasafs.values.items import Item
from bitcasafs.vfs.files import Waits
from bitcasafs.vfs.filesystem import FileSystem, Settings, build
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.vfs.view import Owner
from bitcasafs.writing.contents import Contents
from bitcasafs.writing.outbox import Outbox
from bitcasafs.writing.recovery import recover
from bitcasafs.writing.staging import Staging
from bitcasafs.writing.syncing import StateDisk, Syncing

_log = logging.getLogger(__name__)

HANDOVER_SECONDS = 10.0
"""A process that only sends still gives its requests 5 s to end, and then has a database to close."""

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Parts:
    """What a running mount is made of."""

    config: MountConfig
    remote: TimingRemote
    outbox: Outbox
    contents: Contents
    core: FileSystem
    syncing: Syncing
    guard: Guard
    session: Session
    registry: Registry
    entry: Registered


def open_outbox(config: MountConfig, registry: Registry) -> Outbox:
    """The account's outbox, locked by this process. A process that only sends still is asked to hand it over.

    Blocks. Locked: a mount has it, or did not give it back within 10 seconds.
    """
    make_private_folder(config.account)
    deadline = time.monotonic() + HANDOVER_SECONDS
    asked = False
    while True:
        try:
            return Outbox(config.account, boot_id())
        except Locked as locked:
            holder = registry.of_state(config.account)
            if holder is not None and not asked:
                _ask_for_handover(holder, locked)
                asked = True
            elif not asked or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _ask_for_handover(holder: Registered, locked: Locked) -> None:
    try:
        ask_handover(holder.socket)
    except Unavailable:
        return  # it ended this moment
    except BitcasaError as error:
        raise Locked(f"{locked}: {error}") from None


def remote_config(config: MountConfig, embedded: EmbeddedServer | None) -> RemoteConfig:
    """How the portal is reached, and as whom."""
    if embedded is not None:
        return RemoteConfig(
            portal=f"unix:{embedded.portal_socket}",
            user=USER,
            password=embedded.password,
            deadline_seconds=config.timeout_seconds,
        )
    assert config.portal is not None
    login = config.portal
    return RemoteConfig(
        portal=login.url,
        user=login.user,
        password=lambda: login.password,
        ca_file=login.ca_file,
        allow_http=login.allow_http,
        deadline_seconds=config.timeout_seconds,
    )


async def compose(
    config: MountConfig,
    remote: TimingRemote,
    outbox: Outbox,
    blocks: Blocks | None,
    ledger: Ledger,
    registry: Registry,
    nursery: trio.Nursery,
) -> Parts:
    """Build everything over one remote, outbox and block store. `nursery` holds what reads ahead.

    Asks the portal what the mountpoint shows; when it cannot be reached, what it showed last is shown.
    Unavailable: it cannot, and this account was never mounted here. NotFound, LoginRefused, ProtocolError.
    """
    root = await _root(config, remote)
    staging = Staging(config.staged)
    recover(outbox, staging, today=datetime.now(UTC).astimezone().date(), highest=ledger.highest)
    contents = Contents(outbox, staging)
    clock = SystemClock()
    core = build(
        remote,
        root,
        outbox,
        contents,
        ledger,
        _settings(config),
        nursery=nursery,
        now_ns=clock.wall_ns,
        random_unit=random.random,
        blocks=blocks,
    )
    syncing = Syncing(outbox, StateDisk(outbox, config.staged))
    guard = Guard()
    options = SessionOptions(
        mountpoint=config.mountpoint,
        source=config.source,
        flags=config.kernel_flags | ({"ro"} if config.read_only else set()),
        allow_other=config.allow_other,
    )
    pid = os.getpid()
    entry = Registered(
        config.mountpoint, pid, config.source, config.account, registry.socket_for(config.mountpoint, pid)
    )
    operations = KernelOperations if config.extended_attributes else OperationsWithoutXattrs
    session = Session(operations(core, guard), options)
    return Parts(config, remote, outbox, contents, core, syncing, guard, session, registry, entry)


async def _root(config: MountConfig, remote: Remote) -> Item:
    known = read_root(config.account)
    try:
        root = choose_root(await remote.roots(), all_roots=config.all_roots)
    except Unavailable as error:
        if known is None:
            raise Unavailable(f"{config.source} cannot be reached: {error}") from None
        _log.warning("%s cannot be reached (%s); what is known is shown", config.source, error)
        return ALL_ROOTS if config.all_roots else known
    if not config.all_roots:
        await trio.to_thread.run_sync(write_root, config.account, root)
    return root


def _settings(config: MountConfig) -> Settings:
    return Settings(
        owner=Owner(os.getuid(), os.getgid()),
        ttl_seconds=config.ttl_seconds,
        timeout_seconds=config.timeout_seconds,
        uploads=config.uploads,
        settle_seconds=config.settle_seconds,
        strict=config.strict,
        local=config.local,
        waits=Waits(close=config.close_remote, fsync=config.fsync_remote),
        host=socket.gethostname(),
        disk=config.drive if config.portal is None else None,
        staged=config.staged,
        keep_free_bytes=config.keep_free_bytes,
    )
