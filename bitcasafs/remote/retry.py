"""Asking again: what is safe to repeat is repeated, with growing and jittered waits, within a budget of seconds.

A wrapper. Safe to repeat are all reads (`fetch` goes on where it stopped), and a change when the portal honours
idempotency keys (`batch`) or when it surely did not take effect (`Unavailable.applied` is False). Every change gets its
key here, before the first attempt, so that all attempts carry the same one. Only `Unavailable` is repeated.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from bitcasafs.backoff import Backoff
from bitcasafs.errors import ChecksumMismatch, Unavailable
from bitcasafs.remote.interface import Capabilities, ContentRef, Outcome, Remote, ReplaceStep, Sink, Source
from bitcasafs.remote.keys import with_key
from bitcasafs.remote.sequence import check_work, one_by_one
from bitcasafs.values.items import Address, Item, Listing, Profile
from bitcasafs.values.operations import Operation, Place, Put

T = TypeVar("T")

CHECKSUM_ATTEMPTS = 3
"""Bytes that are wrong each time are not the link's fault: the digest that was given is not theirs."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How to wait, and for how many seconds in all one call may be repeated (progress of a fetch begins them anew)."""

    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=None))
    budget_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class RetryStatistics:
    """`repeats`: attempts after the first; `given_up`: calls that failed although repeating would have been safe."""

    repeats: int
    given_up: int


class _Attempts:
    """The failures of one call, or of one call since it last got on."""

    def __init__(self, policy: RetryPolicy, random_unit: Callable[[], float]) -> None:
        self._policy = policy
        self._random_unit = random_unit
        self.begin()

    def begin(self) -> None:
        self._failures = 0
        self._deadline = trio.current_time() + self._policy.budget_seconds

    def wait_seconds(self, error: Unavailable) -> float | None:
        """How long to wait before the next attempt; None: give up, the budget would be spent."""
        self._failures += 1
        if isinstance(error, ChecksumMismatch) and self._failures >= CHECKSUM_ATTEMPTS:
            return None
        delay = self._policy.backoff.delay(self._failures, error.retry_after_seconds, self._random_unit())
        if delay is None or trio.current_time() + delay > self._deadline:
            return None
        return delay


class RetryRemote:
    """Repeats the calls of `remote`. `random_unit` is in [0, 1)."""

    def __init__(
        self,
        remote: Remote,
        policy: RetryPolicy | None = None,
        *,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._remote = remote
        self._policy = policy if policy is not None else RetryPolicy()
        self._random_unit = random_unit
        self._repeats = 0
        self._given_up = 0

    def statistics(self) -> RetryStatistics:
        return RetryStatistics(self._repeats, self._given_up)

    async def _repeated(
        self, call: Callable[[], Awaitable[T]], attempts: _Attempts, is_safe: Callable[[Unavailable], bool]
    ) -> T:
        while True:
            try:
                return await call()
            except Unavailable as error:
                if not is_safe(error):
                    raise
                if not await self._wait(attempts, error):
                    raise
                # The wait is over, and the next attempt begins.

    async def _wait(self, attempts: _Attempts, error: Unavailable) -> bool:
        delay = attempts.wait_seconds(error)
        if delay is None:
            self._given_up += 1
            return False
        await trio.sleep(delay)
        self._repeats += 1
        return True

    def _attempts(self) -> _Attempts:
        return _Attempts(self._policy, self._random_unit)

    def _change_is_safe(self, error: Unavailable) -> bool:
        return error.applied is False or self._remote.capabilities.batch

    # --- reads -----------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return self._remote.capabilities

    async def connect(self) -> Capabilities:
        return await self._repeated(self._remote.connect, self._attempts(), _always)

    async def profile(self) -> Profile:
        return await self._repeated(self._remote.profile, self._attempts(), _always)

    async def roots(self) -> Listing:
        return await self._repeated(self._remote.roots, self._attempts(), _always)

    async def list(self, folder: Address) -> Listing:
        return await self._repeated(lambda: self._remote.list(folder), self._attempts(), _always)

    async def look(self, target: Address | Place) -> Item:
        return await self._repeated(lambda: self._remote.look(target), self._attempts(), _always)

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        attempts = self._attempts()
        position = start

        def advancing(offset: int, data: bytes) -> None:
            nonlocal position
            sink(offset, data)
            position = offset + len(data)
            attempts.begin()

        await self._repeated(
            lambda: self._remote.fetch(content, position, stop, advancing),
            attempts,
            # Wrong bytes that were handed on cannot be taken back: the caller asks for all of them again.
            lambda error: not isinstance(error, ChecksumMismatch) and (position < stop or start == stop),
        )

    # --- changes ---------------------------------------------------------------------------------------------------

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        keyed = with_key(put)
        newest = resume

        def stepped(step: ReplaceStep) -> None:
            nonlocal newest
            newest = step
            if on_step is not None:
                on_step(step)

        async def attempt() -> Item:
            return await self._remote.store(keyed, source, resume=newest, on_step=stepped, progress=progress)

        return await self._repeated(attempt, self._attempts(), self._change_is_safe)

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        check_work(operations)
        keyed = [(with_key(operation), source) for operation, source in operations]
        # What the portal can is known after the first call; the question is not whether to send, but how to repeat.
        await self.connect()
        if self._remote.capabilities.batch:
            return await self._apply_batch(keyed)
        return await one_by_one(keyed, self._apply_one)

    async def _apply_batch(self, keyed: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        """The whole batch again while any of it has no answer: what took effect gives its first answer again, and
        operations that name others by number keep their meaning and their digest."""
        attempts = self._attempts()
        while True:
            outcomes = await self._repeated(lambda: self._remote.apply(keyed), attempts, _always)
            missing = next((o.error for o in outcomes if isinstance(o.error, Unavailable)), None)
            if missing is None or not await self._wait(attempts, missing):
                return outcomes

    async def _apply_one(self, operation: Operation, source: Source | None) -> Outcome:
        async def attempt() -> Outcome:
            (outcome,) = await self._remote.apply([(operation, source)])
            if isinstance(outcome.error, Unavailable):
                raise outcome.error
            return outcome

        return await self._repeated(attempt, self._attempts(), self._change_is_safe)

    async def aclose(self) -> None:
        await self._remote.aclose()


def _always(_: Unavailable) -> bool:
    return True
