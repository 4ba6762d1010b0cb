"""What a proxy has seen, for assertions: how often, how many bytes, what became of each request."""

from __future__ import annotations

import dataclasses
import enum
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import trio

from tests.support.faults import Fault


class Ending(enum.Enum):
    """What became of a request as its client saw it."""

    OPEN = "open"
    """Still going on, or stalled."""
    ANSWERED = "answered"
    """A whole answer was written to the client (whatever its status, one byte of it flipped or not)."""
    RESET = "reset"
    """By a fault."""
    CUT_SHORT = "cut short"
    """By a fault: half a body and an end."""
    CLIENT_GONE = "client gone"
    UPSTREAM_GONE = "upstream gone"
    """Refused, broke off, or spoke no HTTP; the client was reset."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request. Bytes are of bodies, without framing.

    `received_bytes` came from the client, `forwarded_bytes` went to the upstream, `answered_bytes` to the client.
    `status` is what the client was told, None when it was told nothing; `upstream_status` what the upstream said.
    """

    number: int
    connection: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    fault: Fault | None
    ending: Ending = Ending.OPEN
    status: int | None = None
    upstream_status: int | None = None
    received_bytes: int = 0
    forwarded_bytes: int = 0
    answered_bytes: int = 0

    def header(self, name: str) -> str | None:
        """The first of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class RequestLog:
    """Written in the proxy's trio thread; read and waited for from anywhere."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []
        self._changed = threading.Condition()
        self._waiting_tasks = trio.lowlevel.ParkingLot()

    def add(
        self, connection: int, method: str, target: str, headers: tuple[tuple[str, str], ...], fault: Fault | None
    ) -> int:
        """Answers the request's number, from 0."""
        number = len(self._seen)
        with self._changed:
            self._seen.append(Seen(number, connection, method, target, headers, fault))
            self._notify()
        return number

    def update(self, number: int, **changes: object) -> None:
        """`changes` are fields of `Seen`."""
        with self._changed:
            self._seen[number] = dataclasses.replace(self._seen[number], **changes)  # type: ignore[arg-type]
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        self._waiting_tasks.unpark_all()

    def __getitem__(self, number: int) -> Seen:
        return self._seen[number]

    def __len__(self) -> int:
        return len(self._seen)

    def all(self, method: str | None = None, path: str = "") -> list[Seen]:
        """Those of this method (None: any) in whose target the regular expression `path` is found, oldest first."""
        pattern = re.compile(path)
        with self._changed:
            return [s for s in self._seen if method in (None, s.method) and pattern.search(s.target)]

    def count(self, method: str | None = None, path: str = "") -> int:
        return len(self.all(method, path))

    def received_bytes(self, method: str | None = None, path: str = "") -> int:
        """Sum over requests: what clients sent, again and again."""
        return sum(s.received_bytes for s in self.all(method, path))

    def wait(self, holds: Callable[[RequestLog], bool], timeout_seconds: float = 30) -> None:
        """From another thread: until `holds(log)`; TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self), timeout_seconds):
                raise TimeoutError(f"not seen in {timeout_seconds} s; seen: {self._seen}")

    async def until(self, holds: Callable[[RequestLog], bool]) -> None:
        """In the proxy's own trio loop: until `holds(log)`."""
        while not holds(self):
            await self._waiting_tasks.park()
