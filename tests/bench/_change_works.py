"""The works of the benchmark of changes: what goes in, the commands, and what the portal must list at the end."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench._mounts import NotSent

FILE_BYTES = 16 * 1024
FILES_A_FOLDER = 100


@dataclass(frozen=True, slots=True)
class Plan:
    copied: int
    unpacked: int
    removed: int


FULL = Plan(1000, 500, 2000)
QUICK = Plan(200, 100, 400)


class Sources:
    """What goes in: the trees `copied` and `removed`, and `unpacked.tar` with one of that name."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        chance = random.Random(1)
        for name, count in (("copied", plan.copied), ("unpacked", plan.unpacked), ("removed", plan.removed)):
            for number in range(count):
                path = folder / name / f"folder {number // FILES_A_FOLDER}" / f"file {number:04}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(chance.randbytes(FILE_BYTES))
        with tarfile.open(self.archive, "w") as archive:
            archive.add(folder / "unpacked", "unpacked")

    @property
    def archive(self) -> Path:
        return self.folder / "unpacked.tar"

    def tree(self, name: str) -> dict[str, int]:
        """Paths and sizes of its files, as a drive that holds it has them."""
        files = (path for path in (self.folder / name).rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.stat().st_size for path in files}


@dataclass(frozen=True, slots=True)
class Work:
    """`tree`: what it makes or, with `goes`, takes away. `before`: a command without a clock, whose outcome is sent
    first."""

    what: str
    tree: str
    command: tuple[str, ...]
    before: tuple[str, ...] | None = None
    goes: bool = False

    def in_folder(self, command: Sequence[str], mountpoint: Path) -> list[str]:
        return [word.replace("{mount}", str(mountpoint)) for word in command]


def works(sources: Sources) -> list[Work]:
    plan, folder = sources.plan, sources.folder
    return [
        Work(f"cp -a of {plan.copied:,} files", "copied", ("cp", "-a", str(folder / "copied"), "{mount}")),
        Work(f"tar x of {plan.unpacked:,} files", "unpacked", ("tar", "xf", str(sources.archive), "-C", "{mount}")),
        Work(
            f"rm -rf of {plan.removed:,} files",
            "removed",
            ("rm", "-rf", "{mount}/removed"),
            before=("cp", "-r", str(folder / "removed"), "{mount}"),
            goes=True,
        ),
    ]


def check_portal(work: Work, found: Mapping[str, int] | None, sources: Sources) -> None:
    """NotSent: the mount said that all is on the portal, and it is not."""
    expected = None if work.goes else sources.tree(work.tree)
    if found != expected:
        raise NotSent(
            f"the mount says that all is sent; of {work.tree!r} the portal lists {len(found or {})} files, "
            f"and {len(expected or {})} were meant"
        )
