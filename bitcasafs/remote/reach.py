"""Whether the portal can be reached: remembered from the last call, whoever made it, and asked only when that is old.

A wrapper; outside of all others, so that a call counts as it ended for its caller, repeats included. A refusal is an
answer too. Who uses: the vfs, before it accepts what it could not keep without the portal.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import trio

from bitcasafs.errors import BitcasaError, TimedOut, Unreachable
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Place, Put

FRESH_SECONDS = 15.0
"""An answer counts for so long. Whoever opens a path has looked it up: with the default TTL of 10 s an answer of that
age is there, and an open costs no round trip."""
AWAY_SECONDS = 1.0
"""A question that failed is not repeated for so long: a program that opens a hundred files waits once."""


class ReachRemote:
    """`remote`, remembering how its last call ended. `timeout_seconds`: for a question asked to find out."""

    def __init__(self, remote: Remote, timeout_seconds: float) -> None:
        self._remote = remote
        self._timeout_seconds = timeout_seconds
        self._answered_at = self._asked_in_vain_at = -math.inf
        self._is_away = False
        self._asking = trio.Lock()

    # --- what is known ----------------------------------------------------------------------------------------------

    def answers(self) -> bool:
        """It answered a moment ago, and nothing has failed since."""
        return not self._is_away and trio.current_time() - self._answered_at <= FRESH_SECONDS

    async def need(self) -> None:
        """Return when the portal can be reached: at once when it answered a moment ago, else after asking it, for all
        who wait together. Unreachable: it cannot, or did not answer within the time-out.
        """
        if self.answers():
            return
        async with self._asking:
            if self.answers():
                return
            # One call that failed says little (a connection that was reset): it is asked before anybody is refused.
            if trio.current_time() - self._asked_in_vain_at >= AWAY_SECONDS:
                await self._ask()
        if self._is_away:
            raise Unreachable("the portal cannot be reached, and not all of the file is here", applied=False)

    async def _ask(self) -> None:
        with trio.move_on_after(self._timeout_seconds) as scope:
            with contextlib.suppress(BitcasaError):  # remembered
                await self.profile()
        if scope.cancelled_caught:
            self._note_away()
        if self._is_away:
            self._asked_in_vain_at = trio.current_time()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (Unreachable, TimedOut):
            self._note_away()
            raise
        except BitcasaError:
            self._note_answer()
            raise
        else:
            self._note_answer()

    def _note_away(self) -> None:
        self._is_away = True

    def _note_answer(self) -> None:
        self._answered_at = trio.current_time()
        self._is_away = False

    # --- Remote -----------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return self._remote.capabilities

    async def connect(self) -> Capabilities:
        return await self._remote.connect()  # answered from memory, mostly: it tells nothing

    async def profile(self) -> Profile:
        with self._noted():
            return await self._remote.profile()

    async def roots(self) -> Listing:
        with self._noted():
            return await self._remote.roots()

    async def list(self, folder: Address) -> Listing:
        with self._noted():
            return await self._remote.list(folder)

    async def look(self, target: Address | Place) -> Item:
        with self._noted():
            return await self._remote.look(target)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        def moving(offset: int, data: bytes) -> None:
            self._note_answer()
            sink(offset, data)

        with self._noted():
            await self._remote.fetch(content, start, stop, moving)

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        with self._noted():
            return await self._remote.store(put, source, resume=resume, on_step=on_step, progress=progress)

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        with self._noted():
            return await self._remote.apply(operations)

    async def aclose(self) -> None:
        await self._remote.aclose()
