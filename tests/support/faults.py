"""What can go wrong between a client and a portal, and the script that says when: values, no I/O.

`fault_proxy.FaultProxy` carries it out. A `Script` is read from top to bottom for each request; the first rule that
fires wins. Example: the second upload loses its answer, and one request in fifty gets a 503:

    Script([Rule(LostAnswer(), method="PUT", when=Nth(2)), Rule(Status(503, retry_after_seconds=1), when=Chance(0.02))])
"""

from __future__ import annotations

import enum
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

# --- the faults ---------------------------------------------------------------------------------------------------
# `at_bytes` is how many bytes of the body pass before it happens; None: half of the announced length, or one byte of a
# body with no announced length.


@dataclass(frozen=True, slots=True)
class Refuse:
    """The connection is reset when the request's head was read; the upstream sees nothing.

    Refusing the connection itself, as a portal that is down does, is `FaultProxy.shut`.
    """


@dataclass(frozen=True, slots=True)
class ResetRequest:
    """Both sides are reset in the middle of the request's body; the upstream never sees all of it.

    A request without a body does not reach the upstream at all.
    """

    at_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ResetResponse:
    """The client is reset in the middle of the answer's body; the upstream did its work."""

    at_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """The upstream completes and answers; the client is reset and gets nothing."""


@dataclass(frozen=True, slots=True)
class Status:
    """The client gets this status instead. The request's body is read first.

    `reaches_upstream`: the upstream does its work, and its answer is thrown away; else it sees nothing.
    """

    code: int
    retry_after_seconds: int | None = None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    reaches_upstream: bool = False


class Phase(enum.Enum):
    """Where a stall happens."""

    REQUEST_BODY = "request body"
    """In the middle: the client cannot go on sending."""
    BEFORE_ANSWER = "before answer"
    """The upstream has begun to answer; the client has no byte of it."""
    ANSWER_BODY = "answer body"
    """In the middle."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence for so long, then on as if nothing had been; None: until `FaultProxy.release` or the proxy's end."""

    seconds: float | None = None
    phase: Phase = Phase.BEFORE_ANSWER
    at_bytes: int | None = None


def Delay(seconds: float) -> Stall:  # noqa: N802 -- reads as one of the faults
    """The answer comes later."""
    return Stall(seconds, Phase.BEFORE_ANSWER)


@dataclass(frozen=True, slots=True)
class HalfBody:
    """The connection is closed in good order after half of the announced body."""

    at_bytes: int | None = None


class Side(enum.Enum):
    REQUEST = "request"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class FlipByte:
    """One byte of a body is changed by `mask` (exclusive or) on its way; the length stays. No body: nothing happens."""

    side: Side = Side.RESPONSE
    at_bytes: int | None = None
    mask: int = 0x01


Fault = Refuse | ResetRequest | ResetResponse | LostAnswer | Status | Stall | HalfBody | FlipByte

# --- when ---------------------------------------------------------------------------------------------------------
# Occurrences are counted by each rule, among the requests that its method and path match, from 1, whether another rule
# fired for them or not.


@dataclass(frozen=True, slots=True)
class Always:
    pass


@dataclass(frozen=True, slots=True)
class Nth:
    """These occurrences alone."""

    first: int
    last: int | None = None
    """None: only the first."""


@dataclass(frozen=True, slots=True)
class Every:
    """Occurrence n, 2n, 3n..."""

    n: int


@dataclass(frozen=True, slots=True)
class Chance:
    """Each with this probability; the same seed gives the same requests."""

    probability: float
    seed: int = 1


When = Always | Nth | Every | Chance


@dataclass(frozen=True, slots=True)
class Rule:
    """`method` None: any. `path` is a regular expression searched in the target (path and query, as sent)."""

    fault: Fault
    method: str | None = None
    path: str = ""
    when: When = field(default_factory=Always)


@dataclass(slots=True)
class _Count:
    """One rule's memory."""

    rule: Rule
    pattern: re.Pattern[str]
    dice: random.Random
    matched: int = 0

    def fires(self, method: str, target: str) -> bool:
        if self.rule.method not in (None, method) or not self.pattern.search(target):
            return False
        self.matched += 1
        match self.rule.when:
            case Always():
                return True
            case Nth(first, last):
                return first <= self.matched <= (first if last is None else last)
            case Every(n):
                return self.matched % n == 0
            case Chance(probability):
                return self.dice.random() < probability


class Script:
    """Rules with their counts. One proxy's; give another proxy another script."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._counts = [
            _Count(rule, re.compile(rule.path), random.Random(rule.when.seed if isinstance(rule.when, Chance) else 0))
            for rule in rules
        ]

    def decide(self, method: str, target: str) -> Fault | None:
        """What happens to this request; counts it."""
        firing = [count.rule.fault for count in self._counts if count.fires(method, target)]
        return firing[0] if firing else None
