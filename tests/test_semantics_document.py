"""docs/semantics.md: a row for each request with the calls that the code makes, and the errno table as it is."""

from __future__ import annotations

import errno
import inspect
import logging
import re
from pathlib import Path

import pyfuse3
import pytest

from bitcasafs.errors import BitcasaError
from bitcasafs.fuse.errno import ANSWERS
from bitcasafs.fuse.operations import KernelOperations

DOCUMENT = (Path(__file__).parent.parent / "docs" / "semantics.md").read_text(encoding="utf-8")
LEVELS = {logging.DEBUG: "-", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}


def rows() -> dict[str, list[str]]:
    """Handler to the other cells of its row."""
    table = DOCUMENT.partition("## Requests of the kernel")[2].partition("\n## ")[0]
    found = {}
    for line in table.splitlines():
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.fullmatch(r"`(\w+)`", first)
        if name is not None:
            assert name[1] not in found, f"two rows of {name[1]}"
            found[name[1]] = cells
    return found


def handlers(of: type[pyfuse3.Operations]) -> set[str]:
    return {name for name, _ in inspect.getmembers(of, inspect.iscoroutinefunction) if not name.startswith("_")}


def errno_table() -> str:
    """What stands in the document, from the code."""
    names = errno.errorcode | {errno.EOPNOTSUPP: "EOPNOTSUPP"}  # the same number as ENOTSUP, which nobody says
    lines = ["| kind of failure | errno | log | meaning |", "|---|---|---|---|"]
    for kind, answer in ANSWERS.items():
        meaning = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()).replace("|", "\\|")
        lines.append(f"| {kind.__name__} | {names[answer.errno]} | {LEVELS[answer.level]} | {meaning} |")
    return "\n".join(lines) + "\n"


def test_every_request_that_pyfuse3_hands_on_has_its_row() -> None:
    # `poll` came with pyfuse3 3.5.
    assert handlers(KernelOperations) | {"poll"} == set(rows())


@pytest.mark.parametrize("handler", sorted(set(vars(KernelOperations)) & handlers(KernelOperations)))
def test_a_row_names_the_calls_that_its_handler_makes(handler: str) -> None:
    made = re.findall(r"self\._core\.(\w+\.\w+)\(", inspect.getsource(getattr(KernelOperations, handler)))
    assert re.findall(r"`([\w.]+)`", rows()[handler][1]) == made


def test_every_row_says_what_the_kernel_asks_and_what_is_promised() -> None:
    assert {name: len(cells) for name, cells in rows().items() if len(cells) != 4} == {}
    assert [name for name, cells in rows().items() if not cells[0]] == []


def test_every_kind_of_failure_has_a_meaning() -> None:
    assert [
        kind.__name__ for kind in ANSWERS if kind.__doc__ == BitcasaError.__doc__ and kind is not BitcasaError
    ] == []


def test_the_errno_table_is_the_code_s() -> None:
    assert errno_table() in DOCUMENT


@pytest.mark.parametrize("said", ["sync(2)", "`bitcasafs sync`", "`.NAME.HASH.upload`", "max_user_bgreq"])
def test_what_people_must_know_is_said(said: str) -> None:
    assert said in DOCUMENT
