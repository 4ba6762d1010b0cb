"""The kernel's write-back cache: the same mount with it and without, by real programs; and what it changes besides.

The mount is the core over a drive in memory, so no network and no server is in the figures. Each work is done by both,
one after the other in each round. Then questions are put to both, and to the core as it is with nothing but the cache
switched on. docs/write-back-cache.md has a run and the decision. The folders are where TMPDIR says.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench import _circumstances, _figures
from tests.bench._writeback_figures import HEADINGS, Figure, Sample
from tests.bench._writeback_mount import Mode, WritebackMount
from tests.bench._writeback_probes import TTL_SECONDS, answer, probes

COMMAND_SECONDS = 300.0
MEBIBYTE = 2**20
MEASURED = (Mode.WITHOUT, Mode.WITH)
PARTS = ("works", "questions")
FAILURES = (OSError, subprocess.SubprocessError)
"""Of one mount: what others found is told all the same."""

INSERTS = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("CREATE TABLE things (number INTEGER PRIMARY KEY, words TEXT)")
together = sys.argv[2] == "together"
base.execute("BEGIN") if together else None
for number in range(int(sys.argv[3])):
    base.execute("INSERT INTO things VALUES (?, ?)", (number, "word " * 20))
base.execute("COMMIT") if together else None
base.close()
"""

AUTHOR = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")


@dataclass(frozen=True, slots=True)
class Plan:
    files: int
    small_blocks: int
    large_blocks: int
    inserts: int


FULL = Plan(files=500, small_blocks=16384, large_blocks=256, inserts=2000)
QUICK = Plan(files=100, small_blocks=2048, large_blocks=32, inserts=200)


@dataclass(frozen=True, slots=True)
class Work:
    """Commands one after the other; `{mount}` stands for the mountpoint."""

    what: str
    commands: tuple[tuple[str, ...], ...]


class Sources:
    """What goes in: `tree`, an archive of it, and `repository`, where it is committed."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        chance = random.Random(1)
        for number in range(plan.files):
            path = folder / "tree" / f"folder {number // 50}" / f"file {number:04}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(chance.randbytes(8192).hex().encode())
        with tarfile.open(folder / "tree.tar", "w") as archive:
            archive.add(folder / "tree", "unpacked")
        for command in (("git", "init", "-q"), ("git", "add", "."), ("git", *AUTHOR, "commit", "-q", "-m", "all")):
            subprocess.run(command, cwd=folder / "tree", check=True)
        (folder / "tree" / ".git").rename(folder / "repository.git")


def works(sources: Sources) -> list[Work]:
    plan, folder = sources.plan, sources.folder
    clone = "{mount}/clone"
    insert = (sys.executable, "-c", INSERTS)
    return [
        Work(f"cp -a of {plan.files:,} files", (("cp", "-a", str(folder / "tree"), "{mount}"),)),
        Work(f"tar x of {plan.files:,} files", (("tar", "xf", str(folder / "tree.tar"), "-C", "{mount}"),)),
        _dd("bs=4k", plan.small_blocks, plan.small_blocks * 4096 // MEBIBYTE),
        _dd("bs=1M", plan.large_blocks, plan.large_blocks),
        Work(
            f"SQLite: {plan.inserts:,} inserts, one transaction",
            ((*insert, "{mount}/one.db", "together", str(plan.inserts)),),
        ),
        Work(
            f"SQLite: {plan.inserts:,} inserts, as many transactions",
            ((*insert, "{mount}/many.db", "apart", str(plan.inserts)),),
        ),
        Work("git clone", (("git", "clone", "-q", str(folder / "repository.git"), clone),)),
        Work(
            "git commit of 50 changed files",
            (
                ("sh", "-c", f"for file in '{clone}/folder 0/'*; do echo more >> \"$file\"; done"),
                ("git", "-C", clone, *AUTHOR, "commit", "-q", "-a", "-m", "more"),
            ),
        ),
    ]


def _dd(block: str, count: int, mebibytes: int) -> Work:
    command = ("dd", "if=/dev/zero", f"of={{mount}}/{block}", block, f"count={count}", "status=none")
    return Work(f"dd {block} of {mebibytes} MiB", (command,))


class Run:
    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources, self._folder = sources, folder
        self.figures = {work.what: Figure(work.what) for work in works(sources)}
        self.answers: dict[str, list[str]] = {question: [] for question in probes()}
        self.failures: list[str] = []

    def measure(self, number: int) -> None:
        """One round: new mounts, empty drives."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            mounts = [stack.enter_context(WritebackMount(mode, folder / mode.value)) for mode in MEASURED]
            for turn, work in enumerate(works(self._sources), number):
                for mount in mounts if turn % 2 == 0 else reversed(mounts):
                    try:
                        sample = measured(work, mount)
                    except FAILURES as error:
                        self._failed(f"{mount.mode.value}, {work.what}: {error}")
                        continue
                    self.figures[work.what].add(mount.mode, number, sample)
                    print(f"{mount.mode.value}, {work.what}: {sample.seconds:.2f} s", file=sys.stderr)

    def ask(self) -> None:
        for mode in Mode:
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
                mount = stack.enter_context(WritebackMount(mode, folder, ttl_seconds=TTL_SECONDS))
                for question, probe in probes().items():
                    self.answers[question].append(answer(probe, mount))

    def _failed(self, what: str) -> None:
        self.failures.append(what)
        print(what, file=sys.stderr)

    def report(self, heading: str, parts: Sequence[str], *, markdown: bool) -> str:
        found = [heading]
        if "works" in parts:
            rows = [figure.cells() for figure in self.figures.values()]
            found.append(_figures.table(HEADINGS, rows, markdown=markdown))
        if "questions" in parts:
            asked = [[question, *told] for question, told in self.answers.items()]
            headings = ("", *(mode.value for mode in Mode))
            found.append(_figures.table(headings, asked, markdown=markdown))
        return "\n\n".join([*found, *(f"Failed: {failure}" for failure in self.failures)])


def measured(work: Work, mount: WritebackMount) -> Sample:
    """From a mount that has sent everything to a mount that has."""
    os.sync()
    requests, used = mount.requests(), mount.usage().cpu_seconds
    began = time.perf_counter()
    for command in work.commands:
        _run([word.replace("{mount}", str(mount.mountpoint)) for word in command], mount)
    seconds = time.perf_counter() - began
    used = mount.usage().cpu_seconds - used
    asked = mount.requests() - requests
    mount.ask("drained")
    return Sample(seconds, used, asked.total(), asked["write"])


def _run(command: Sequence[str], mount: WritebackMount) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        try:
            _, said = running.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            # Who waits for a mount's answer cannot be killed; it ends once the mount has.
            mount.kill()
            running.kill()
            raise subprocess.SubprocessError(
                f"{command[0]} had not returned after {COMMAND_SECONDS:.0f} s: the mount was ended"
            ) from None
    if running.returncode:
        raise subprocess.SubprocessError(f"{' '.join(command)}: {said[:500]}")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench writeback", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="figures are the medians of so many (3)")
    parser.add_argument("--quick", action="store_true", help="less data")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample of every round")
    parser.add_argument("--markdown", action="store_true", help="print the tables as the document has them")
    options = parser.parse_args(argv)
    parts = [part for part in PARTS if part in options.only] or list(PARTS)
    known = _circumstances.facts("writeback", argv, options.rounds)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(os.path.realpath(folder))
        known["folders on"] = _circumstances.file_system(place)
        sources = place / "sources"
        run = Run(Sources(sources, QUICK if options.quick else FULL), place)
        if "works" in parts:
            for number in range(options.rounds):
                run.measure(number)
        if "questions" in parts:
            run.ask()
    known |= {"load after": _circumstances.load(), "minutes": f"{(time.monotonic() - began) / 60:.1f}"}
    print(run.report(_circumstances.heading(known, markdown=options.markdown), parts, markdown=options.markdown))
    if options.json is not None:
        figures = [figure.as_json() for figure in run.figures.values()]
        found = {**known, "figures": figures, "answers": run.answers}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(bool(run.failures))
