"""What the benchmark of changes found, held against what is promised of it. Pure.

Two promises. While a command runs, nobody waits for the portal: at most twice the time that a bare file system in
memory takes, and the same at every delay of the link. After it has returned, the link is the limit.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.support.link_profile import LinkProfile

FLOOR = "floor"
MOST_TO_FLOOR = 2.0
MOST_SPREAD = 0.1
MOST_OF_CARRYING = 1.5
"""Times what the bytes alone take at the link's rate."""
ROUND_TRIPS = 10
SETTLE_SECONDS = 1.0
"""`-o settle=` as it comes."""
_ABSENT = "-"
_OTHER_COLUMNS = ("to floor", f"at most {MOST_TO_FLOOR:.0f}", "spread", f"at most {MOST_SPREAD:.0%}")
SENT_HEADINGS = ("from the return until the portal has all", "returned, s", "then, s", "at most, s", "")


def most_seconds(size_bytes: int, profile: LinkProfile) -> float:
    """From the return of the command until the portal has all."""
    rate = profile.rate_bits_per_second
    carrying = 0.0 if rate is None else size_bytes * 8 / rate
    return MOST_OF_CARRYING * carrying + ROUND_TRIPS * profile.round_trip_seconds + SETTLE_SECONDS


def returned_headings(delays: Sequence[str]) -> tuple[str, ...]:
    return ("until the command returns, s", FLOOR, *delays, *_OTHER_COLUMNS)


@dataclass(slots=True)
class Returned:
    """One work. `seconds`: by contender (the floor, and ours at each of `delays`, the shortest first) and round; one
    that failed is not there."""

    what: str
    delays: tuple[str, ...]
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, contender: str, number: int, seconds: float) -> None:
        self.seconds.setdefault(contender, {})[number] = seconds

    @property
    def to_floor(self) -> float | None:
        """How many times as long as the floor ours takes at the worst of the delays."""
        ratios = [self._ratio(delay, FLOOR) for delay in self.delays]
        return None if None in ratios else max(ratio for ratio in ratios if ratio is not None)

    @property
    def spread(self) -> float | None:
        """How much longer the slowest of the delays takes than the fastest, as a share."""
        ratios = [self._ratio(delay, self.delays[0]) for delay in self.delays]
        if None in ratios:
            return None
        known = [ratio for ratio in ratios if ratio is not None]
        return max(known) / min(known) - 1

    def _ratio(self, contender: str, other: str) -> float | None:
        """The median of the rounds' ratios, for noise strikes all of a round alike."""
        ours, theirs = self.seconds.get(contender, {}), self.seconds.get(other, {})
        found = [ours[number] / theirs[number] for number in ours.keys() & theirs.keys()]
        return statistics.median(found) if found else None

    def cells(self) -> list[str]:
        medians = [
            statistics.median(found.values()) if (found := self.seconds.get(name)) else None
            for name in (FLOOR, *self.delays)
        ]
        to_floor, spread = self.to_floor, self.spread
        return [
            self.what,
            *(_ABSENT if one is None else f"{one:.2f}" for one in medians),
            _ABSENT if to_floor is None else f"{to_floor:.1f}",
            verdict(to_floor, MOST_TO_FLOOR),
            _ABSENT if spread is None else f"{spread:.0%}",
            verdict(spread, MOST_SPREAD),
        ]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "to_floor": self.to_floor, "spread": self.spread}


@dataclass(frozen=True, slots=True)
class Sample:
    """`sent_seconds`: from the return until the portal had all."""

    returned_seconds: float
    sent_seconds: float


@dataclass(slots=True)
class Sent:
    """One work over one link: the rounds that came to their end."""

    link: str
    what: str
    most_seconds: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        return statistics.median(sample.sent_seconds for sample in self.samples) if self.samples else None

    def cells(self) -> list[str]:
        found = self.seconds
        returned = statistics.median(sample.returned_seconds for sample in self.samples) if self.samples else None
        return [
            f"{self.link}: {self.what}",
            _ABSENT if returned is None else f"{returned:.2f}",
            _ABSENT if found is None else f"{found:.2f}",
            f"{self.most_seconds:.2f}",
            verdict(found, self.most_seconds),
        ]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds}


def verdict(value: float | None, most: float) -> str:
    """What was not measured did not pass."""
    return "pass" if value is not None and value <= most else "fail"
