"""Opens the account's block store, or does without. Who uses: `run`."""

from __future__ import annotations

import logging

from bitcasafs.errors import BitcasaError
from bitcasafs.mount.config import MountConfig
from bitcasafs.reading.blocks import Blocks
from bitcasafs.reading.eviction import Limits

_log = logging.getLogger(__name__)


def open_blocks(config: MountConfig) -> Blocks | None:
    """The store as `-o cache_size=` has it; None: there is none, and every read goes to the portal. Blocks.

    What the store held before is removed when it is turned off. That it cannot be opened is said and ends no mount.
    """
    size_bytes = config.cache_bytes
    if size_bytes is None:
        # The content of a drive on this machine is on this disk already.
        size_bytes = 0 if config.portal is None else Limits().size_bytes
    if not size_bytes and not config.blocks.is_dir():
        return None
    try:
        blocks = Blocks(config.blocks, Limits(size_bytes, config.keep_free_bytes))
    except (BitcasaError, OSError) as error:
        _log.warning("What is read is not kept on this disk: %s", error)
        return None
    if size_bytes:
        return blocks
    blocks.close()
    return None
