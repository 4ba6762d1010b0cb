"""Single changes that wait for the metadata's writer at the same time share its next transaction.

A commit is a wait for the disk, and one goes after the other: eight clients that upload small files one by one waited
for eight of them. Here the first to come applies its own change; those who come meanwhile wait, and the first of them
applies all of theirs together. Nobody waits to be joined. Measured on two cores, uploads of 16 KiB a second over 16
connections: 203 before, 402 with it, at two thirds of the CPU; over one connection nothing changes (2026-11).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bitcasafs.server.metadata.interface import Applied, Request


class Applies(Protocol):
    """What is wanted of the metadata."""

    def apply(self, user: int, requests: Sequence[Request], *, touch_parent: bool = False) -> Iterator[Applied]: ...


@dataclass(slots=True)
class _Waiting:
    request: Request
    outcome: Applied | BaseException | None = None


class SharedCommits:
    """Blocks; from worker threads."""

    def __init__(self, metadata: Applies) -> None:
        self._metadata = metadata
        self._guard = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: dict[tuple[int, bool], list[_Waiting]] = {}

    @property
    def waiting(self) -> int:
        """Changes that no transaction has taken up yet."""
        with self._guard:
            return sum(map(len, self._waiting.values()))

    def apply(self, user: int, request: Request, *, touch_parent: bool = False) -> Applied:
        """As `Metadata.apply` of this request alone. An error that is of no request in particular strikes all that
        shared the transaction, of which then nothing is done."""
        mine = _Waiting(request)
        with self._guard:
            self._waiting.setdefault((user, touch_parent), []).append(mine)
        with self._turn:
            if mine.outcome is None:
                self._carry_out(user, touch_parent)
        if isinstance(mine.outcome, BaseException):
            raise mine.outcome
        assert mine.outcome is not None, "whoever has the turn carries out everything that waits"
        return mine.outcome

    def _carry_out(self, user: int, touch_parent: bool) -> None:
        with self._guard:
            together = self._waiting.pop((user, touch_parent))
        try:
            requests = [one.request for one in together]
            outcomes = list(self._metadata.apply(user, requests, touch_parent=touch_parent))
        except BaseException as error:  # noqa: BLE001 - each who waits raises it, the one who works too
            for one in together:
                one.outcome = error
            return
        for one, outcome in zip(together, outcomes, strict=True):
            one.outcome = outcome
