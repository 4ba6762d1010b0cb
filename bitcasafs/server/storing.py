"""From received bytes to rows: contents are made durable and claimed, then rows name them; what none names goes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

from bitcasafs.errors import BitcasaError
from bitcasafs.server.incoming import Incoming
from bitcasafs.server.portal import Portal

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def kept(portal: Portal, incoming: Sequence[Incoming]) -> Iterator[set[bytes]]:
    """Inside, the contents are durable and stay; commit the rows that name them there. Blocks, so it runs in a thread.

    Put into the set the digests of those that got no row: they are removed afterwards, unless another row names them.
    NoSpace: nothing was kept.
    """
    writers = [one.writer for one in incoming if one.size_bytes]
    digests = {writer.finish().digest for writer in writers}
    unused: set[bytes] = set()
    try:
        with portal.claims.hold(digests):
            if writers:
                portal.contents.keep(writers)
            yield unused
    except BaseException:
        unused |= digests
        raise
    finally:
        if unused & digests:
            _sweep(portal, sorted(unused & digests))


def _sweep(portal: Portal, digests: Sequence[bytes]) -> None:
    try:
        portal.claims.remove(digests, portal.metadata.unreferenced, portal.contents.remove)
    except (BitcasaError, OSError) as error:
        # Not worth failing a change that was made: the next sweep of the whole store finds them.
        _log.warning("contents that nobody names were left for later: %s", error)
