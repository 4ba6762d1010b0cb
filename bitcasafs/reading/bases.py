"""Bytes of the version that a partly written file lies over: from the block store where it has them, else fetched.

Who uses: whoever completes such a file, in the background or when it is sent. Exactly the range that was asked for,
with no read-ahead, and nothing is kept: the bytes go into the staged file.
"""

from __future__ import annotations

from bitcasafs.errors import BaseGone, NotFound, VersionGone, VersionMismatch
from bitcasafs.reading.blocks import Blocks
from bitcasafs.remote.interface import ContentRef, Remote, Sink

GONE = (NotFound, VersionGone, VersionMismatch)
"""What a portal says of content that it has no more."""


def base_gone() -> BaseGone:
    return BaseGone("the version that a part of the file comes from is no longer to be had")


class Bases:
    def __init__(self, remote: Remote, blocks: Blocks | None) -> None:
        self._remote, self._blocks = remote, blocks

    def has(self, content: ContentRef, start: int, stop: int) -> bool:
        """[start, stop) is kept here."""
        if start >= stop or self._blocks is None:
            return start >= stop
        lease = self._blocks.lease(content)
        first, _ = lease.missing(start, stop)
        lease.close()
        return first >= stop

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        """[start, stop) in order into `sink`. Waits for the network for what is not kept here; raises as
        `Remote.fetch`, but BaseGone when that content is gone.
        """
        lease = None if self._blocks is None else self._blocks.lease(content)
        try:
            while start < stop:
                kept = b"" if lease is None else lease.read(start, stop)
                if kept:
                    sink(start, kept)
                    start += len(kept)
                    continue
                first, last = (start, stop) if lease is None else lease.missing(start, stop)
                last = last if first == start else stop  # damaged: it is not here after all
                await self._remote.fetch(content, start, last, sink)
                start = last
        except GONE:
            raise base_gone() from None
        finally:
            if lease is not None:
                lease.close()
