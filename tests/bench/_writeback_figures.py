"""What the benchmark of the write-back cache found: samples by work, mode and round, as rows. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench._writeback_mount import Mode

HEADINGS = (
    "until the programs return", "without, s", "with, s", "times as fast", "CPU, s", "with: CPU, s",
    "requests", "with: requests", "writes", "with: writes",
)  # fmt: skip
_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Sample:
    """`cpu_seconds` of the mount's process; `requests` of the kernel, `writes` among them."""

    seconds: float
    cpu_seconds: float
    requests: int
    writes: int


@dataclass(slots=True)
class Figure:
    """One work. `samples`: by mode and round; one that failed is not there."""

    what: str
    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)

    def add(self, mode: Mode, number: int, sample: Sample) -> None:
        self.samples.setdefault(mode.value, {})[number] = sample

    @property
    def ratio(self) -> float | None:
        """How many times as fast it is with the cache: the median of the rounds' ratios, for noise strikes both."""
        without, with_it = self.samples.get(Mode.WITHOUT.value, {}), self.samples.get(Mode.WITH.value, {})
        found = [without[number].seconds / with_it[number].seconds for number in without.keys() & with_it.keys()]
        return statistics.median(found) if found else None

    def cells(self) -> list[str]:
        ratio = self.ratio
        return [
            self.what,
            *self._both(lambda sample: sample.seconds, "{:.2f}"),
            _ABSENT if ratio is None else f"{ratio:.2f}",
            *self._both(lambda sample: sample.cpu_seconds, "{:.2f}"),
            *self._both(lambda sample: sample.requests, "{:,.0f}"),
            *self._both(lambda sample: sample.writes, "{:,.0f}"),
        ]

    def _both(self, what: Callable[[Sample], float], shown: str) -> list[str]:
        return [
            shown.format(statistics.median(map(what, found.values()))) if (found := self.samples.get(mode.value))
            else _ABSENT
            for mode in (Mode.WITHOUT, Mode.WITH)
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}
