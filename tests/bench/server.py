"""Our server beside `rclone serve webdav`: listings, small files, large ones, and both over slow links.

Both serve from one disk and are loaded by one client (`_http_load`), one after the other in each round, so that what
else the machine does strikes both: only ratios within a run mean something. The figures are medians of the rounds.
What was written is synced before each measurement: ours has synced it already, rclone leaves it to the kernel.
docs/benchmarks.md has a run and what it says.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import _contenders, _figures
from tests.bench._contenders import Contender, Content, Contents, Ours
from tests.bench._figures import BYTES, FILES, LISTINGS, Figure, Peak, Sample, Unit
from tests.bench._http_load import Load, Request, WrongAnswer
from tests.support.endpoints import Endpoint
from tests.support.link import FIBER, WAN, LinkProfile
from tests.support.link_process import LinkProcess
from tests.support.processes import NotReady

SMALL_BYTES = 16 * 1024
BATCH = 64
"""Puts a batch: 1 MiB with such files."""
READ_FILES = 500
CLIENT_LIMIT = 0.8
"""Of its time the client worked itself: from here on it is no longer the server that is measured."""

Starting = Callable[[Path, Mapping[str, int]], AbstractContextManager[Contender]]
STARTING: tuple[Starting, ...] = (_contenders.running_ours, _contenders.running_rclone)


@dataclass(frozen=True, slots=True)
class Work:
    """Requests without end for one contender; `count` is what each of them brings, in the unit of its figure."""

    requests: Callable[[Contender], Iterator[Request]]
    count: float = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One load for both. `ours`: the ways in which our server offers it. `most_requests`: then no more; 0: no bound."""

    what: str
    connections: int
    unit: Unit
    ours: dict[str, Work]
    theirs: Work
    seconds: float = 0.0
    most_requests: int = 0
    warm: bool = True
    once: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that are measured on the same two processes. `fresh`: new ones for each round."""

    name: str
    cells: list[Cell]
    filled: dict[str, int] = field(default_factory=dict)
    small_files: bool = False
    link: LinkProfile | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: float
    link_seconds: float
    many: int
    large_bytes: int
    connections: tuple[int, ...]
    on_links: tuple[int, ...] = (1, 8)


FULL = Plan(3, 2.0, 2.0, 100_000, 256 * 2**20, (1, 8, 16))
QUICK = Plan(1, 1.0, 1.0, 10_000, 64 * 2**20, (1, 8))


# --- loads ------------------------------------------------------------------------------------------------------------


def _new_folder(contender: Contender) -> tuple[str, Iterator[str]]:
    folder = secrets.token_hex(6)
    contender.make_folder(folder)
    return folder, (f"{number:06}.bin" for number in itertools.count())


def uploads(contents: Contents) -> Work:
    def requests(contender: Contender) -> Iterator[Request]:
        folder, names = _new_folder(contender)
        return (contender.upload(folder, name, content) for name, content in zip(names, contents, strict=False))

    return Work(requests)


def batches(contents: Contents, size: int) -> Work:
    def requests(contender: Contender) -> Iterator[Request]:
        assert isinstance(contender, Ours)
        folder, names = _new_folder(contender)
        while True:
            yield contender.batch(folder, [(next(names), next(contents)) for _ in range(size)])

    return Work(requests, size)


def reads() -> Work:
    def requests(contender: Contender) -> Iterator[Request]:
        return itertools.cycle(contender.downloads("read", _contenders.names_of(READ_FILES), SMALL_BYTES))

    return Work(requests)


def listings(folder: str) -> Work:
    return Work(lambda contender: itertools.repeat(contender.listing(folder)))


def large(contents: Contents, connections: int, *, up: bool) -> Work:
    """Files of their own for each connection; those that come down are those that went up before."""
    names = [f"{connections}-{number}.bin" for number in range(connections)]

    def requests(contender: Contender) -> Iterator[Request]:
        if not up:
            return iter(contender.downloads(f"large{connections}", names, contents.size_bytes))
        contender.make_folder(f"large{connections}")
        return iter([contender.upload(f"large{connections}", name, next(contents)) for name in names])

    return Work(requests, contents.size_bytes)


# --- groups -----------------------------------------------------------------------------------------------------------


def groups(plan: Plan) -> list[Group]:
    return [_listing(plan), _small(plan), _large(plan), _over(FIBER, plan), _over(WAN, plan)]


def _listing(plan: Plan) -> Group:
    filled = {"thousand": 1000, "many": plan.many}
    many = listings("many")
    cells = [
        Cell(f"list {plan.many:,}, the first", 1, LISTINGS, {"": many}, many, most_requests=1, warm=False, once=True),
        Cell(f"list {plan.many:,}", 1, LISTINGS, {"": many}, many, most_requests=1, warm=False),
    ]
    for connections in (1, 8):
        work = listings("thousand")
        cells.append(Cell("list 1,000", connections, LISTINGS, {"": work}, work, plan.seconds))
    return Group("listing", cells, filled)


def _small(plan: Plan) -> Group:
    contents = Contents(SMALL_BYTES)
    ours = {"": uploads(contents), "batch of 1": batches(contents, 1), f"batch of {BATCH}": batches(contents, BATCH)}
    cells = [Cell("upload 16 KiB", n, FILES, ours, uploads(contents), plan.seconds) for n in plan.connections]
    cells += [Cell("download 16 KiB", n, FILES, {"": reads()}, reads(), plan.seconds) for n in plan.connections]
    return Group("small", cells, small_files=True)


def _large(plan: Plan) -> Group:
    contents = Contents(plan.large_bytes)
    cells = []
    for connections in (1, 4):
        for up in (True, False):
            work = large(contents, connections, up=up)
            what = f"{'upload' if up else 'download'} {plan.large_bytes // 2**20} MiB"
            cells.append(Cell(what, connections, BYTES, {"": work}, work, most_requests=connections, warm=False))
    return Group("large", cells, fresh=True)


def _over(profile: LinkProfile, plan: Plan) -> Group:
    contents = Contents(SMALL_BYTES)
    ours = {"": uploads(contents), f"batch of {BATCH}": batches(contents, BATCH)}
    cells = [Cell("upload 16 KiB", n, FILES, ours, uploads(contents), plan.link_seconds) for n in plan.on_links]
    for folder, items in (("thousand", 1000), ("tens", 10_000)):
        work = listings(folder)
        cells.append(Cell(f"list {items:,}", 1, LISTINGS, {"": work}, work, plan.link_seconds))
    return Group(profile.name, cells, {"thousand": 1000, "tens": 10_000}, link=profile)


# --- running ----------------------------------------------------------------------------------------------------------


class Run:
    """All that one run measures."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self.figures: dict[tuple[str, str, int], Figure] = {}
        self.peaks: list[Peak] = []

    def carry_out(self, group: Group) -> None:
        for _ in range(self._plan.rounds if group.fresh else 1):
            with ExitStack() as stack:
                pair: list[tuple[Contender, Endpoint]] = []
                for running in STARTING:
                    home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
                    contender = stack.enter_context(running(home, group.filled))
                    if group.small_files:
                        store_small_files(contender)
                    through = contender.endpoint
                    if group.link is not None:
                        through = stack.enter_context(LinkProcess(contender.endpoint, group.link)).endpoint
                    pair.append((contender, through))
                self._rounds(group, pair)
                for contender, _ in pair:
                    usage = contender.process.usage()
                    self.peaks.append(Peak(group.name, contender.name, usage.peak_rss_bytes))

    def _rounds(self, group: Group, pair: list[tuple[Contender, Endpoint]]) -> None:
        (ours, to_ours), (theirs, to_theirs) = pair
        for number in range(1 if group.fresh else self._plan.rounds):
            for cell in group.cells:
                if cell.once and number:
                    continue
                began = time.perf_counter()
                reference = measure(cell, theirs, to_theirs, cell.theirs)
                for way, work in cell.ours.items():
                    what = f"{cell.what}, {way}" if way else cell.what
                    link = group.link.name if group.link is not None else ""
                    sample = measure(cell, ours, to_ours, work)
                    figure = self.figures.setdefault(
                        (group.name, what, cell.connections), Figure(link, what, cell.connections, cell.unit)
                    )
                    figure.ours.append(sample)
                    figure.theirs.append(reference)
                passed = time.perf_counter() - began
                print(f"{group.name}: {cell.what}, {cell.connections} conn.: {passed:.1f} s", file=sys.stderr)


def measure(cell: Cell, contender: Contender, endpoint: Endpoint, work: Work) -> Sample:
    requests = work.requests(contender)
    os.sync()
    with Load(endpoint, cell.connections) as load:
        if cell.warm:
            load.run(itertools.islice(requests, cell.connections))
        if cell.most_requests:
            requests = itertools.islice(requests, cell.most_requests)
        before = contender.process.usage().cpu_seconds
        spent = load.run(requests, cell.seconds or float("inf"))
        cpu_seconds = contender.process.usage().cpu_seconds - before
    count = spent.requests * work.count
    return Sample.of(
        cell.unit, count, spent.seconds, cpu_seconds, spent.cpu_seconds, spent.received_bytes / spent.requests
    )


def store_small_files(contender: Contender) -> None:
    """The folder that `reads` reads; what is stored is read back once and compared."""
    contender.make_folder("read")
    names = _contenders.names_of(READ_FILES)
    stored = dict(zip(names, Contents(SMALL_BYTES), strict=False))

    def compared(request: Request, content: Content) -> Request:
        def check(body: bytes) -> None:
            if body != b"".join(content.pieces):
                raise WrongAnswer(f"{contender.name} gave other bytes back than it was sent")

        return Request(request.pieces, request.status, request.answer_bytes, check)

    with Load(contender.endpoint, 8) as load:
        load.run(contender.upload("read", name, content) for name, content in stored.items())
        downloads = contender.downloads("read", names, SMALL_BYTES)
        load.run(compared(request, content) for request, content in zip(downloads, stored.values(), strict=True))


# --- telling ----------------------------------------------------------------------------------------------------------


def report(run: Run, chosen: list[Group], heading: str, *, markdown: bool) -> str:
    parts = [heading]
    for group in chosen:
        rows = [figure.cells() for (name, _, _), figure in run.figures.items() if name == group.name]
        if not rows:
            continue
        parts.append(f"### {group.name}" if markdown else group.name)
        parts.append(_figures.table(_figures.HEADINGS, rows, markdown=markdown))
    limited = [figure.what for figure in run.figures.values() if figure.client_share > CLIENT_LIMIT]
    if limited:
        parts.append(f"The client was near its own limit: {', '.join(limited)}.")
    headings = ("peak memory, MiB", "BitcasaFS", "rclone")
    parts.append(_figures.table(headings, _figures.peak_rows(run.peaks), markdown=markdown))
    return "\n\n".join(parts)


def facts(argv: list[str], plan: Plan, rclone: str) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "beside": rclone,
        "command": " ".join(["scripts/bench server", *argv]),
        "rounds": str(plan.rounds),
    }


def main(argv: list[str]) -> int:
    every = [group.name for group in groups(QUICK)]
    parser = argparse.ArgumentParser(prog="scripts/bench server", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round with less data: two minutes")
    parser.add_argument("--only", action="append", choices=every, metavar="NAME", help=f"of {', '.join(every)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample of every round")
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/benchmarks.md has them")
    options = parser.parse_args(argv)
    plan = QUICK if options.quick else FULL
    known = facts(argv, plan, _contenders.rclone_version())
    chosen = [group for group in groups(plan) if group.name in (options.only or every)]
    began = time.monotonic()
    failed = False
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run = Run(plan, Path(folder))
        for group in chosen:
            try:
                run.carry_out(group)
            except (WrongAnswer, NotReady, OSError) as error:
                # What was measured before is told all the same.
                failed = True
                print(f"{group.name}: {error}", file=sys.stderr)
    known["minutes"] = f"{(time.monotonic() - began) / 60:.1f}"
    heading = "\n".join(f"{'- ' if options.markdown else ''}{name}: {value}" for name, value in known.items())
    print(report(run, chosen, heading, markdown=options.markdown))
    if options.json is not None:
        figures = [{"group": key[0], **figure.as_json()} for key, figure in run.figures.items()]
        found = {**known, "figures": figures, "peaks": [asdict(peak) for peak in run.peaks]}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(failed)
