"""What a benchmark of two contenders found: samples of each round, their medians and ratios, as tables and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Unit:
    """`scale` turns a count a second into `name`; `cpu_scale` turns CPU seconds of one into `cpu_name`."""

    name: str
    cpu_name: str
    scale: float = 1.0
    cpu_scale: float = 1000.0
    is_time: bool = False
    """The figure is the time that one takes: less is better."""


FILES = Unit("files/s", "ms a file")
BYTES = Unit("MB/s", "s a GB", scale=1e-6, cpu_scale=1e9)
LISTINGS = Unit("ms", "ms a listing", scale=1000.0, is_time=True)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one contender. `client_share`: the client's CPU time by the time it took."""

    value: float
    cpu: float
    client_share: float
    answer_bytes: float

    @classmethod
    def of(
        cls, unit: Unit, count: float, seconds: float, cpu_seconds: float, client_seconds: float, answer_bytes: float
    ) -> Sample:
        value = seconds / count * unit.scale if unit.is_time else count / seconds * unit.scale
        return cls(value, cpu_seconds / count * unit.cpu_scale, client_seconds / seconds, answer_bytes)


@dataclass(slots=True)
class Figure:
    """One row: the same rounds of both."""

    link: str
    what: str
    connections: int
    unit: Unit
    ours: list[Sample] = field(default_factory=list)
    theirs: list[Sample] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How many times as fast as theirs ours is: the median of the rounds' ratios, for noise strikes both alike."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(t.value / o.value if self.unit.is_time else o.value / t.value for o, t in pairs)

    def cells(self) -> list[str]:
        return [
            self.what,
            str(self.connections),
            self.unit.name,
            _number(_median(self.ours, "value")),
            _number(_median(self.theirs, "value")),
            f"{self.ratio:.2f}",
            _number(_median(self.ours, "cpu")),
            _number(_median(self.theirs, "cpu")),
            self.unit.cpu_name,
            f"{self.client_share:.0%}",
            self._answers() if self.unit.is_time else "",
        ]

    @property
    def client_share(self) -> float:
        return max(sample.client_share for sample in (*self.ours, *self.theirs))

    def _answers(self) -> str:
        return " / ".join(f"{_median(samples, 'answer_bytes') / 1000:,.0f}" for samples in (self.ours, self.theirs))

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


HEADINGS = ("", "conn.", "unit", "BitcasaFS", "rclone", "ratio", "CPU", "CPU rclone", "of", "client", "answer, KB")


@dataclass(frozen=True, slots=True)
class Peak:
    """Of resident memory, of one contender in one group."""

    group: str
    contender: str
    rss_bytes: int


def peak_rows(peaks: Iterable[Peak]) -> list[list[str]]:
    """One row a group: MiB of ours and theirs."""
    rows: dict[str, dict[str, int]] = {}
    for peak in peaks:
        row = rows.setdefault(peak.group, {})
        row[peak.contender] = max(row.get(peak.contender, 0), peak.rss_bytes)
    return [[group, *(f"{size / 2**20:.0f}" for size in row.values())] for group, row in rows.items()]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Aligned, so that it reads as it is; numbers to the right."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    right = [all(_is_number(row[column]) for row in rows) for column in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

    rule = ["-" * (width - 1) + (":" if is_right else "-") for width, is_right in zip(widths, right, strict=True)]
    return "\n".join([line(headings), line(rule) if markdown else "", *map(line, rows)])


def _median(samples: Iterable[Sample], name: str) -> float:
    return float(statistics.median(getattr(sample, name) for sample in samples))


def _number(value: float) -> str:
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _is_number(text: str) -> bool:
    return text.strip("%").replace(",", "").replace(".", "").isdecimal()
