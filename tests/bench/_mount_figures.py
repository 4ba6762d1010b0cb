"""What the benchmark of mounts found: each work's samples by contender and round, and the rows that they make."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench._figures import Unit

OURS, THEIRS, FLOOR = "BitcasaFS", "rclone", "floor"
SPEED_HEADINGS = ("", "unit", OURS, THEIRS, FLOOR, "to rclone", "to floor")
COST_HEADINGS = ("CPU seconds", "mount", "server", "rclone mount", "rclone server", FLOOR)
PEAK_HEADINGS = ("the mount's peak memory, MiB", OURS, THEIRS, FLOOR)
_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Sample:
    """One work of one contender, in one round. `sent_seconds`: until the portal had all, from the same beginning; CPU
    seconds until then."""

    returned_seconds: float
    sent_seconds: float
    mount_cpu_seconds: float
    server_cpu_seconds: float


@dataclass(slots=True)
class Figure:
    """`count`: bytes or files of the work. `samples`: by contender and round; one that failed is not there."""

    link: str
    what: str
    unit: Unit
    count: int
    is_sent: bool
    """It goes to the portal, so it has a second end."""
    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)

    def add(self, contender: str, number: int, sample: Sample) -> None:
        self.samples.setdefault(contender, {})[number] = sample

    def speeds(self) -> list[list[str]]:
        """One row, or two where the command returns before the portal has all."""
        if not self.is_sent:
            return [[self.what, *self._speeds(_returned)]]
        return [
            [f"{self.what}: returned", *self._speeds(_returned)],
            [f"{self.what}: on the portal", *self._speeds(_sent)],
        ]

    def costs(self) -> list[str]:
        """Until the portal had all."""
        asked = (
            (OURS, _mount_cpu), (OURS, _server_cpu), (THEIRS, _mount_cpu), (THEIRS, _server_cpu), (FLOOR, _mount_cpu),
        )  # fmt: skip
        found = [self._median(name, cost) for name, cost in asked]
        return [self.what, *(_ABSENT if cost is None else f"{cost:.2f}" for cost in found)]

    def ratio(self, other: str, seconds: Callable[[Sample], float]) -> float | None:
        """How many times as fast as `other` ours is: the median of the rounds' ratios, for noise strikes all alike."""
        ours, theirs = self.samples.get(OURS, {}), self.samples.get(other, {})
        found = [seconds(theirs[number]) / seconds(ours[number]) for number in ours.keys() & theirs.keys()]
        return statistics.median(found) if found else None

    def _speeds(self, seconds: Callable[[Sample], float]) -> list[str]:
        times = [self._median(name, seconds) for name in (OURS, THEIRS, FLOOR)]
        speeds = [None if time is None else self.count / time * self.unit.scale for time in times]
        ratios = [self.ratio(other, seconds) for other in (THEIRS, FLOOR)]
        return [self.unit.name, *map(_number, speeds), *map(_ratio, ratios)]

    def _median(self, contender: str, what: Callable[[Sample], float]) -> float | None:
        samples = self.samples.get(contender)
        return statistics.median(map(what, samples.values())) if samples else None

    def as_json(self) -> dict[str, Any]:
        ratios = {
            f"{name}_to_{other}": self.ratio(other, seconds)
            for name, seconds in (("returned", _returned), ("sent", _sent))
            for other in (THEIRS, FLOOR)
        }
        return {**asdict(self), **ratios}


def peak_rows(peaks: dict[tuple[str, str], int]) -> list[list[str]]:
    """`peaks`: bytes by link and contender."""
    links = list(dict.fromkeys(link for link, _ in peaks))
    return [[link, *(f"{peaks.get((link, name), 0) / 2**20:.0f}" for name in (OURS, THEIRS, FLOOR))] for link in links]


def _returned(sample: Sample) -> float:
    return sample.returned_seconds


def _sent(sample: Sample) -> float:
    return sample.sent_seconds


def _mount_cpu(sample: Sample) -> float:
    return sample.mount_cpu_seconds


def _server_cpu(sample: Sample) -> float:
    return sample.server_cpu_seconds


def _ratio(value: float | None) -> str:
    if value is None:
        return _ABSENT
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _number(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return _ABSENT
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
