"""From a fault and the length of a body to what happens to that body, and where: pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tests.support.faults import Fault, FlipByte, HalfBody, Phase, ResetRequest, ResetResponse, Side, Stall


class Act(enum.Enum):
    PASS = "pass"
    FLIP = "flip"
    STALL = "stall"
    RESET = "reset"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Treatment:
    """After `at_bytes` of the body have passed, and only if there are more: `act`."""

    act: Act = Act.PASS
    at_bytes: int = 0
    mask: int = 0
    seconds: float | None = None

    def splits(self, start: int, stop: int) -> bool:
        """Whether it happens within the piece [start, stop) of the body."""
        return self.act is not Act.PASS and start <= self.at_bytes < stop


def request_treatment(fault: Fault | None, length: int | None) -> Treatment:
    """`length` None: not announced."""
    match fault:
        case ResetRequest(at_bytes):
            return Treatment(Act.RESET, _place(at_bytes, length))
        case FlipByte(Side.REQUEST, at_bytes, mask):
            return Treatment(Act.FLIP, _place(at_bytes, length), mask=mask)
        case Stall(seconds, Phase.REQUEST_BODY, at_bytes):
            return Treatment(Act.STALL, _place(at_bytes, length), seconds=seconds)
        case _:
            return Treatment()


def response_treatment(fault: Fault | None, length: int | None) -> Treatment:
    """`length` None: not announced."""
    match fault:
        case ResetResponse(at_bytes):
            return Treatment(Act.RESET, _place(at_bytes, length))
        case HalfBody(at_bytes):
            return Treatment(Act.CLOSE, _place(at_bytes, length))
        case FlipByte(Side.RESPONSE, at_bytes, mask):
            return Treatment(Act.FLIP, _place(at_bytes, length), mask=mask)
        case Stall(seconds, Phase.ANSWER_BODY, at_bytes):
            return Treatment(Act.STALL, _place(at_bytes, length), seconds=seconds)
        case _:
            return Treatment()


def _place(at_bytes: int | None, length: int | None) -> int:
    """Before the last byte, so that it happens whatever the script says."""
    if length is None:
        return 1 if at_bytes is None else at_bytes
    return max(0, min(length // 2 if at_bytes is None else at_bytes, length - 1))
