"""How an embedded server knows that a mount still wants it: each mount keeps a connection to `lease.sock` open.

Nothing is said over it; the kernel closes it when a mount ends, however it ends. The server ends when no mount has held
one for `linger_seconds`, counted from its start or from the last one's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from bitcasafs.server.config import UnixAddress

NAME = "lease.sock"


def lease_address(folder: Path) -> UnixAddress:
    """Where mounts connect: beside the server's own socket."""
    return UnixAddress(folder / NAME)


class Leases:
    """Counts connections. `on_idle` is called once, when nobody held a lease for long enough; made inside a loop that
    runs, `begin` starts the first count."""

    def __init__(self, linger_seconds: float, on_idle: Callable[[], None]) -> None:
        self._linger_seconds = linger_seconds
        self._on_idle = on_idle
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        """Mounts that live."""
        return self._held

    def begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._linger_seconds, self._on_idle)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its other end is closed; what it sends is ignored."""
        self._held += 1
        if self._timer is not None:
            self._timer.cancel()
        try:
            while await reader.read(4096):
                pass
        except OSError:
            pass
        finally:
            self._held -= 1
            if self._held == 0:
                self.begin()
            writer.close()
