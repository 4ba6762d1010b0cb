"""Runs a mount in this process, from its outbox's lock to its last upload. Who uses: `cli.mount`, after the fork.

One nursery holds everything that runs beside the kernel's session; it is cancelled when `Life` says that all is done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal

import trio

from bitcasafs.atomic import make_private_folder
from bitcasafs.control.registry import Registry
from bitcasafs.control.service import ControlService
from bitcasafs.fuse.errno import single_cause
from bitcasafs.mount.blocks import open_blocks
from bitcasafs.mount.compose import Parts, compose, open_outbox, remote_config
from bitcasafs.mount.config import MountConfig
from bitcasafs.mount.daemon import Outcome, Report
from bitcasafs.mount.embedded import EmbeddedServer
from bitcasafs.mount.life import Life
from bitcasafs.remote.interface import Remote
from bitcasafs.remote.open import open_remote
from bitcasafs.vfs.ledger import Ledger
from bitcasafs.writing.outbox import Outbox

_log = logging.getLogger(__name__)

_QUIET_SECONDS = 2.0
_CLOSE_SECONDS = 5.0


def run(config: MountConfig, report: Report) -> None:
    """Mount, answer, send, end. `report` is called once the mountpoint answers.

    Blocks until the mount has ended. Raises what kept it from starting: BitcasaError (Locked, ConfigError,
    LoginRefused, Unavailable...), OSError; never a group.
    """
    registry = Registry(*config.folders.control)
    outbox = open_outbox(config, registry)
    try:
        trio.run(_run, config, outbox, registry, report)
    except BaseExceptionGroup as group:
        raise single_cause(group) from None
    finally:
        outbox.sync()
        outbox.close()


async def _run(config: MountConfig, outbox: Outbox, registry: Registry, report: Report) -> None:
    # What is pushed onto the stack is closed when every task of the nursery has ended: nobody uses it then.
    async with contextlib.AsyncExitStack() as after, trio.open_nursery() as nursery:
        embedded = EmbeddedServer(config.drive) if config.portal is None else None
        if embedded is not None:
            after.callback(embedded.close)
            await nursery.start(embedded.keep)
        remote = open_remote(remote_config(config, embedded))
        after.push_async_callback(_close, remote)
        blocks = await trio.to_thread.run_sync(open_blocks, config)
        if blocks is not None:
            after.callback(blocks.close)
        ledger = Ledger(config.account / "nodes.sqlite3")
        after.callback(ledger.close)
        parts = await compose(config, remote, outbox, blocks, ledger, registry, nursery)
        after.callback(parts.contents.close)
        after.callback(registry.remove, parts.entry)
        after.callback(parts.session.close)
        await _live(parts, nursery, report)
        nursery.cancel_scope.cancel()


async def _close(remote: Remote) -> None:
    with trio.move_on_after(_CLOSE_SECONDS, shield=True):
        await remote.aclose()


async def _live(parts: Parts, nursery: trio.Nursery, report: Report) -> None:
    life = Life(parts)
    await nursery.start(_obey_signals, life)
    await nursery.start(parts.core.scheduler.run)
    await nursery.start(parts.core.staying.run)
    await nursery.start(parts.syncing.run)
    make_private_folder(parts.entry.socket.parent)
    service = ControlService(parts.entry.socket, life)
    await nursery.start(service.run)
    parts.session.open()
    await nursery.start(life.serve)
    parts.registry.add(parts.entry)
    _log.info("%s is mounted at %s", parts.config.source, parts.config.mountpoint)
    report(Outcome(0))
    await life.last()
    await parts.syncing.everything()
    with trio.move_on_after(_QUIET_SECONDS):
        await service.quiet()
    _log.info("The mount at %s has ended", parts.config.mountpoint)


async def _obey_signals(life: Life, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """The first signal ends in order; the second at once, which loses nothing either: what was promised is on the
    disk."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            _log.info("%s: unmounting", signal.Signals(number).name)
            if not life.stop():
                os._exit(0)
