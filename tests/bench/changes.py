"""Many small changes: until the command returns, beside a bare file system in memory; then until the portal has all.

`cp -a` of 1,000 files, `tar x` of 500 and `rm -rf` of 2,000, in folders whose listings are known (`-o ttl=1h` keeps
them so). (a) The same by the floor and by ours over links that differ in nothing but their delay (there and back), one
after the other in each round, so that what else the machine does strikes all. (b) Over fiber and wan. What the mount
says it has sent is compared with the portal's own listing. A command or a sending that takes too long ends its mount,
and the bench goes on without it. The folders are where TMPDIR says: on a tmpfs the disk has no part in the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitcasafs.errors import BitcasaError
from tests.bench import _change_figures, _circumstances, _figures
from tests.bench._change_figures import Returned, Sample, Sent, most_seconds
from tests.bench._change_works import FULL, QUICK, Sources, Work, check_portal, works
from tests.bench._mounts import Floor, NotSent, Ours, through
from tests.support.link_profile import FIBER, WAN, LinkProfile
from tests.support.mounted import home
from tests.support.portal_session import Drive
from tests.support.processes import NotReady
from tests.support.server import RunningServer, serving

COMMAND_SECONDS = 120.0
SENT_SECONDS = 300.0
DELAYS = tuple(LinkProfile(f"{delay} ms", one_way_delay_ms=delay / 2) for delay in (0, 80, 500))
"""The first goes through the emulator as well: what that costs all three pay."""
LINKS = (FIBER, WAN)
PARTS = ("returned", "sent")
FAILURES = (NotSent, NotReady, BitcasaError, OSError, subprocess.SubprocessError, AssertionError)
"""Of one contender: the others go on without it."""


@dataclass(frozen=True, slots=True)
class Contender:
    """`server`: where to look whether what was said to be sent is there; None: the floor, which sends nothing."""

    name: str
    mounted: Ours | Floor
    server: RunningServer | None

    def wait_sent(self) -> None:
        """NotSent."""
        if isinstance(self.mounted, Ours):
            self.mounted.wait_sent({}, seconds=SENT_SECONDS)

    def run(self, command: Sequence[str]) -> float:
        """Answers the seconds until it returned. SubprocessError: it failed, or was ended."""
        self._in_time(["ls", str(self.mounted.mountpoint)])  # its listing is known from here on
        return self._in_time(command)

    def _in_time(self, command: Sequence[str]) -> float:
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
            try:
                _, said = running.communicate(timeout=COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                # Who waits for a mount's answer cannot be killed; it ends once the mount has.
                self.mounted.process.kill()
                running.kill()
                raise subprocess.SubprocessError(
                    f"{command[0]} had not returned after {COMMAND_SECONDS:.0f} s: the mount was ended"
                ) from None
            seconds = time.perf_counter() - began
        if running.returncode:
            raise subprocess.SubprocessError(f"{' '.join(command)}: {said[:500]}")
        return seconds


def measure(work: Work, contender: Contender, sources: Sources) -> Sample:
    """From a mount at rest to a mount at rest. NotSent also when the portal has something else than the mount says."""
    mountpoint = contender.mounted.mountpoint
    if work.before is not None:
        contender.run(work.in_folder(work.before, mountpoint))
        contender.wait_sent()
    os.sync()
    returned = contender.run(work.in_folder(work.command, mountpoint))
    began = time.perf_counter()
    contender.wait_sent()
    sent = time.perf_counter() - began
    if contender.server is not None:
        with Drive.of(contender.server) as drive:
            check_portal(work, listed(drive, work.tree), sources)
    return Sample(returned, sent)


def listed(drive: Drive, folder: str) -> dict[str, int] | None:
    """Paths and sizes of the files of a tree; None: there is none."""
    if folder not in drive.rows():
        return None
    found, folders = {}, [folder]
    for one in folders:
        for name, row in drive.rows(one).items():
            if row["type"] == 1:
                folders.append(f"{one}/{name}")
            else:
                found[f"{one}/{name}"] = int(row["size"])
    return found


class Run:
    """All that one run measures."""

    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources = sources
        self._folder = folder
        delays = tuple(profile.name for profile in DELAYS)
        self.returned = {work.what: Returned(work.what, delays) for work in works(sources)}
        self.sent = {
            (link.name, work.what): Sent(link.name, work.what, most_seconds(self._bytes(work), link))
            for link in LINKS
            for work in works(sources)
        }
        self.failures: list[str] = []

    def _bytes(self, work: Work) -> int:
        return 0 if work.goes else sum(self._sources.tree(work.tree).values())

    def carry_out(self, number: int, part: str) -> None:
        """One round: new processes, empty portals."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            contenders = list(stack.enter_context(mounts(folder, self._sources, part)))
            for turn, work in enumerate(works(self._sources), number):
                # Nobody is always the first, whose disk is the quietest.
                start = turn % len(contenders) if contenders else 0
                for contender in [*contenders[start:], *contenders[:start]]:
                    what = f"{contender.name}, {work.what}"
                    try:
                        sample = measure(work, contender, self._sources)
                    except FAILURES as error:
                        contenders.remove(contender)
                        self.failed(f"{what}: {error}")
                        continue
                    print(f"{what}: {sample.returned_seconds:.2f} s, then {sample.sent_seconds:.2f} s", file=sys.stderr)
                    if part == "returned":
                        self.returned[work.what].add(contender.name, number, sample.returned_seconds)
                    else:
                        self.sent[contender.name, work.what].samples.append(sample)

    def failed(self, what: str) -> None:
        self.failures.append(what)
        print(what, file=sys.stderr)

    def as_json(self) -> dict[str, Any]:
        returned = [figure.as_json() for figure in self.returned.values()]
        return {"returned": returned, "sent": [figure.as_json() for figure in self.sent.values()]}

    def report(self, heading: str, parts: Sequence[str], *, markdown: bool) -> str:
        found = [heading]
        if "returned" in parts:
            headings = _change_figures.returned_headings([profile.name for profile in DELAYS])
            rows = [figure.cells() for figure in self.returned.values()]
            found.append(_figures.table(headings, rows, markdown=markdown))
        if "sent" in parts:
            rows = [figure.cells() for figure in self.sent.values()]
            found.append(_figures.table(_change_figures.SENT_HEADINGS, rows, markdown=markdown))
        return "\n\n".join([*found, *(f"Failed: {failure}" for failure in self.failures)])


@contextmanager
def mounts(folder: Path, sources: Sources, part: str) -> Iterator[tuple[Contender, ...]]:
    """The floor, and ours at each delay; or ours over each link. Each has a portal of its own, empty."""
    with ExitStack() as stack:
        found = []
        for profile in DELAYS if part == "returned" else LINKS:
            own = folder / profile.name
            own.mkdir()
            place = stack.enter_context(home())
            server = stack.enter_context(serving(own))
            portal = stack.enter_context(through(profile, server.endpoint))
            found.append(Contender(profile.name, Ours(place, server, portal, "ttl=1h"), server))
        if part == "returned":
            found.insert(0, Contender(_change_figures.FLOOR, Floor(folder, sources.folder), None))
        for one in found:
            stack.enter_context(one.mounted)
        yield tuple(found)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench changes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="figures are the medians of so many (3)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the files")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample of every round")
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/benchmarks.md has them")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = _options(argv)
    parts = [part for part in PARTS if part in options.only] or list(PARTS)
    known = _circumstances.facts("changes", argv, options.rounds)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(os.path.realpath(folder))
        known["folders on"] = _circumstances.file_system(place)
        run = Run(Sources(place / "sources", QUICK if options.quick else FULL), place)
        for number in range(options.rounds):
            for part in parts:
                try:
                    run.carry_out(number, part)
                except FAILURES as error:
                    run.failed(f"{part}: {error}")
        known |= {"load after": _circumstances.load(), "minutes": f"{(time.monotonic() - began) / 60:.1f}"}
        print(run.report(_circumstances.heading(known, markdown=options.markdown), parts, markdown=options.markdown))
        if options.json is not None:
            found = {**known, **run.as_json()}
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(bool(run.failures))
