"""What stands between our code and the kernel: no exception but an errno gets through.

pyfuse3 lets every exception other than FUSEError end the whole mount (its caller sees ECONNABORTED, everybody else
ENOTCONN), so each handler runs inside `guard.on(...)`. BaseException passes: cancellation is trio's, and an exit is
meant.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import TracebackType

import pyfuse3

from bitcasafs.fuse.errno import answer, single_cause

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GuardStatistics:
    """`faults` counts what nobody foresaw and was answered EIO; its tracebacks are in the log."""

    faults: int
    last_fault: str | None


class Guard:
    """Counts faults. `on` makes one context manager a kind of request, stateless, used by all its requests at once."""

    def __init__(self) -> None:
        self._faults = 0
        self._last_fault: str | None = None

    def on(self, request: str) -> Guarded:
        """For `with`: what is raised inside leaves as FUSEError."""
        return Guarded(self, request)

    def statistics(self) -> GuardStatistics:
        return GuardStatistics(self._faults, self._last_fault)

    def errno_of(self, request: str, error: Exception) -> int:
        """Log `error`, count it if it is a fault, and say what the application is told."""
        what = answer(error)
        if what.foreseen:
            _log.log(what.level, "%s: %s", request, single_cause(error))
        else:
            self._faults += 1
            self._last_fault = f"{request}: {type(error).__name__}"
            _log.log(what.level, "%s failed in a way that nobody foresaw", request, exc_info=error)
        return what.errno


class Guarded:
    """A class with slots, not a generator: it runs once a request, and costs 0.3 us instead of 1.5."""

    __slots__ = ("_guard", "_request")

    def __init__(self, guard: Guard, request: str) -> None:
        self._guard = guard
        self._request = request

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, pyfuse3.FUSEError):
            raise pyfuse3.FUSEError(self._guard.errno_of(self._request, error)) from None
