"""A mount as it comes from the package, beside rclone's mount and beside a bare file system in memory.

A large file and a tree of small ones go in and come out again, by `dd` and `cp -r`, over each link; what comes out is
read by a mount that has nothing of it, and is compared with what went in. Each work is done by all three, one after the
other, so that what else the machine does strikes all: only ratios within a run mean something. Disks are synced before
each. docs/benchmarks.md has a run and what it says.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bitcasafs.errors import BitcasaError
from tests.bench import _circumstances, _contenders, _figures, _mount_figures
from tests.bench._figures import BYTES, FILES
from tests.bench._mount_figures import Figure, Sample
from tests.bench._mounts import Mounted, NotSent, mounted_three
from tests.support.link_profile import FIBER, LOOP, WAN, LinkProfile
from tests.support.processes import NotReady

MEBIBYTE = 2**20
SMALL_BYTES = 16 * 1024
FILES_A_FOLDER = 100
COMMAND_SECONDS = 1800.0
LINKS = {profile.name: profile for profile in (LOOP, FIBER, WAN)}
WORKS = ("large", "small")
FAILURES = (NotSent, NotReady, BitcasaError, OSError, subprocess.SubprocessError, AssertionError)
"""Of one contender: the others go on without it."""


@dataclass(frozen=True, slots=True)
class Plan:
    large_bytes: int
    files: int
    links: tuple[str, ...]


FULL = Plan(512 * MEBIBYTE, 1000, ("loop", "fiber", "wan"))
QUICK = Plan(64 * MEBIBYTE, 200, ("loop", "fiber"))


class Sources:
    """What goes in: `large`, and `small`, a folder of folders. Random, for ours keeps equal content once."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.large_bytes, self.files = plan.large_bytes, plan.files
        folder.mkdir()
        chance = random.Random(1)
        with self.large.open("wb") as file:
            for _ in range(plan.large_bytes // MEBIBYTE):
                file.write(chance.randbytes(MEBIBYTE))
        for number in range(plan.files):
            path = self.small / f"folder {number // FILES_A_FOLDER}" / f"file {number:04}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(chance.randbytes(SMALL_BYTES))

    @property
    def large(self) -> Path:
        return self.folder / "large"

    @property
    def small(self) -> Path:
        return self.folder / "small"

    def sizes(self, top: Path) -> Mapping[Path, int]:
        """Of the files at and below `top`, by their paths in a mount that has a copy of it."""
        files = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        return {path.relative_to(self.folder): path.stat().st_size for path in files}


@dataclass(frozen=True, slots=True)
class Work:
    """`command`: from a mountpoint; `sent`: what the portal must have at the end; `check`: a second command, that
    compares."""

    figure: Figure
    command: Callable[[Path], Sequence[str]]
    sent: Mapping[Path, int]
    check: Callable[[Path], Sequence[str]] | None = None
    cold: bool = False


def works(sources: Sources, link: str, out: Path, chosen: Sequence[str]) -> list[Work]:
    """In the order in which they can be done. `out`: where a tree is read to."""
    found = []
    size = sources.large_bytes
    if "large" in chosen:
        what = f"{size // MEBIBYTE} MiB"
        large = sources.large
        found += [
            Work(
                Figure(link, f"write {what}", BYTES, size, is_sent=True),
                lambda mount: ["dd", f"if={large}", f"of={mount / 'large'}", "bs=1M", "status=none"],
                sources.sizes(large),
            ),
            Work(
                Figure(link, f"read {what}", BYTES, size, is_sent=False),
                lambda mount: ["dd", f"if={mount / 'large'}", "of=/dev/null", "bs=1M", "status=none"],
                {},
                lambda mount: ["cmp", str(mount / "large"), str(large)],
                cold=True,
            ),
        ]
    if "small" in chosen:
        what = f"{sources.files:,} files"
        found += [
            Work(
                Figure(link, f"{what} in", FILES, sources.files, is_sent=True),
                lambda mount: ["cp", "-r", str(sources.small), str(mount)],
                sources.sizes(sources.small),
            ),
            Work(
                Figure(link, f"{what} out", FILES, sources.files, is_sent=False),
                lambda mount: ["cp", "-r", str(mount / "small"), str(out)],
                {},
                lambda mount: ["diff", "-r", str(sources.small), str(out / "small")],
                cold=True,
            ),
        ]
    return found


class Run:
    """All that one run measures."""

    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources = sources
        self._folder = folder
        self.figures: dict[tuple[str, str], Figure] = {}
        self.peaks: dict[tuple[str, str], int] = {}
        self.failures: list[str] = []

    def carry_out(self, number: int, profile: LinkProfile, chosen: Sequence[str]) -> None:
        """One round over one link: new processes, empty portals."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            mounts = list(stack.enter_context(mounted_three(folder, self._sources.folder, profile)))
            out = folder / "out"
            out.mkdir()
            for turn, work in enumerate(works(self._sources, profile.name, out, chosen), number):
                figure = self.figures.setdefault((profile.name, work.figure.what), work.figure)
                # Nobody is always the first, whose disk is the quietest.
                for mounted in _rotated(mounts, turn):
                    try:
                        sample = measure(work, mounted)
                    except FAILURES as error:
                        mounts.remove(mounted)
                        self.failed(f"{profile.name}, {figure.what}, {mounted.name}: {error}")
                        continue
                    finally:
                        subprocess.run(["rm", "-rf", out / "small"], check=True)
                    figure.add(mounted.name, number, sample)
                    where = (profile.name, mounted.name)
                    self.peaks[where] = max(self.peaks.get(where, 0), mounted.spent().peak_rss_bytes)
                    told = f"{figure.what}, {mounted.name}: {sample.returned_seconds:.2f} s"
                    told += f", on the portal {sample.sent_seconds:.2f} s" if figure.is_sent else ""
                    print(f"{profile.name}: {told}", file=sys.stderr)

    def failed(self, what: str) -> None:
        self.failures.append(what)
        print(what, file=sys.stderr)


def _rotated(mounts: Sequence[Mounted], turn: int) -> list[Mounted]:
    start = turn % len(mounts) if mounts else 0
    return [*mounts[start:], *mounts[:start]]


def measure(work: Work, mounted: Mounted) -> Sample:
    if work.cold:
        mounted.forget()
    os.sync()
    before = mounted.spent()
    began = time.perf_counter()
    _run(work.command(mounted.mountpoint))
    returned = time.perf_counter()
    if work.sent:
        mounted.wait_sent(work.sent)
    ended = time.perf_counter()
    after = mounted.spent()
    if work.check is not None:
        _run(work.check(mounted.mountpoint))
    return Sample(
        returned - began,
        ended - began,
        after.mount_seconds - before.mount_seconds,
        after.server_seconds - before.server_seconds,
    )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    if done.returncode:
        raise subprocess.SubprocessError(f"{' '.join(command)}: {(done.stderr or done.stdout)[:500]}")


# --- telling ----------------------------------------------------------------------------------------------------------


def report(run: Run, heading: str, *, markdown: bool) -> str:
    parts = [heading]
    for link in dict.fromkeys(link for link, _ in run.figures):
        figures = [figure for figure in run.figures.values() if figure.link == link]
        speeds = [row for figure in figures for row in figure.speeds()]
        parts.append(f"### {link}" if markdown else link)
        parts.append(_figures.table(_mount_figures.SPEED_HEADINGS, speeds, markdown=markdown))
        costs = [figure.costs() for figure in figures]
        parts.append(_figures.table(_mount_figures.COST_HEADINGS, costs, markdown=markdown))
    peaks = _mount_figures.peak_rows(run.peaks)
    parts.append(_figures.table(_mount_figures.PEAK_HEADINGS, peaks, markdown=markdown))
    parts += [f"Failed: {failure}" for failure in run.failures]
    return "\n\n".join(parts)


def _options(argv: list[str]) -> argparse.Namespace:
    choices = (*LINKS, *WORKS)
    parser = argparse.ArgumentParser(prog="scripts/bench mount", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="figures are the medians of so many")
    parser.add_argument("--quick", action="store_true", help="less data, no wan: two minutes")
    parser.add_argument("--only", action="append", default=[], choices=choices, metavar="NAME", help=", ".join(choices))
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample of every round")
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/benchmarks.md has them")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = _options(argv)
    plan = QUICK if options.quick else FULL
    links = [name for name in LINKS if name in options.only] or list(plan.links)
    chosen = [name for name in WORKS if name in options.only] or list(WORKS)
    known = {**_circumstances.facts("mount", argv, options.rounds), "beside": _contenders.rclone_version()}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(os.path.realpath(folder))
        run = Run(Sources(home / "sources", plan), home)
        for number in range(options.rounds):
            for link in links:
                try:
                    run.carry_out(number, LINKS[link], chosen)
                except FAILURES as error:
                    run.failed(f"{link}: {error}")
    known |= {"load after": _circumstances.load(), "minutes": f"{(time.monotonic() - began) / 60:.1f}"}
    heading = _circumstances.heading(known, markdown=options.markdown)
    print(report(run, heading, markdown=options.markdown))
    if options.json is not None:
        peaks = [{"link": link, "contender": name, "rss_bytes": size} for (link, name), size in run.peaks.items()]
        found = {**known, "figures": [figure.as_json() for figure in run.figures.values()], "peaks": peaks}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(bool(run.failures))
