"""What a server does beside its requests: it drops what is past its keeping, and contents that nothing names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from bitcasafs.server.portal import Portal

EVERY_SECONDS = 3600.0
SLICE = 1000
"""Contents asked about at a time: one query, during which uploads wait."""

_log = logging.getLogger(__name__)


async def keep_house(portal: Portal) -> None:
    """Until cancelled: at the start a sweep over the whole store, for what a killed server stored and never named;
    then, every hour, what has expired. A failure is logged and tried again at the next round."""
    await _try(portal, sweep)
    while True:
        await _try(portal, expire)
        await asyncio.sleep(EVERY_SECONDS)


def sweep(portal: Portal) -> int:
    """Blocks. The number of contents removed."""
    removed = 0
    digests = portal.contents.digests()
    while some := list(islice(digests, SLICE)):
        removed += len(portal.claims.remove(some, portal.metadata.unreferenced, portal.contents.remove))
    return removed


def expire(portal: Portal) -> int:
    """Blocks. The number of contents removed."""
    expired = portal.metadata.expire()
    removed = portal.claims.remove(expired.digests, portal.metadata.unreferenced, portal.contents.remove)
    portal.metadata.content_deleted(sorted(removed))
    return len(removed)


async def _try(portal: Portal, work: Callable[[Portal], int]) -> None:
    try:
        removed = await portal.threads.content(work, portal)
        if removed:
            _log.info("%d contents that nothing names were removed", removed)
    except Exception:  # noqa: BLE001 - nobody waits for this task: it would end unseen, and nothing expire again
        _log.exception("housekeeping failed; it is tried again in %d s", EVERY_SECONDS)
