"""How long a mount that the kernel has let go of goes on sending.

Who uses: `life`. Whoever unmounts with umount.bitcasafs waits for the process, so it waits for them; whoever unmounts
otherwise has said with `-o linger=` how long it may take.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator

import trio

STOP_SECONDS = 10.0
"""After a signal. systemd waits 90 s and a person less; what is not sent by then is in the outbox."""


class Patience:
    """Of one mount. `linger_seconds` None: until all is sent."""

    def __init__(self, linger_seconds: float | None) -> None:
        self._linger_seconds = linger_seconds
        self.stopped = trio.Event()
        """A signal has come."""
        self.handed_over = trio.Event()
        """Another mount waits for the outbox."""
        self._waiting = 0
        self._alone = trio.Event()
        self._alone.set()

    @contextlib.contextmanager
    def somebody_waits(self) -> Iterator[None]:
        """Who asked for the end of the mount is there until all is sent, or goes away inside."""
        self._waiting += 1
        self._alone = trio.Event()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._alone.set()

    async def over(self) -> None:
        """Return when what is not sent must stay. To be called when the kernel has let go."""
        async with trio.open_nursery() as nursery:

            async def end_with(limit: Callable[[], Awaitable[None]]) -> None:
                await limit()
                nursery.cancel_scope.cancel()

            for limit in (self._after_signal, self._after_linger, self.handed_over.wait):
                nursery.start_soon(end_with, limit)

    async def _after_signal(self) -> None:
        await self.stopped.wait()
        await trio.sleep(STOP_SECONDS)

    async def _after_linger(self) -> None:
        if self._linger_seconds is None or self.stopped.is_set():
            await trio.sleep_forever()
        assert self._linger_seconds is not None
        await trio.sleep(self._linger_seconds)
        while self._waiting:
            await self._alone.wait()
