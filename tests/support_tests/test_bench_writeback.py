"""The rows of the benchmark of the write-back cache, and what its mount tells the core."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench._writeback_figures import HEADINGS, Figure, Sample
from tests.bench._writeback_mount import Mode, adapted
from tests.bench._writeback_probes import answer
from tests.bench.writeback import Plan, Sources, works


def test_a_row_has_both_and_how_many_times_as_fast_the_cache_makes_it() -> None:
    figure = Figure("dd")
    figure.add(Mode.WITHOUT, 0, Sample(2.0, 0.5, 4101, 2048))
    figure.add(Mode.WITH, 0, Sample(4.0, 0.25, 2062, 8))
    assert figure.cells() == ["dd", "2.00", "4.00", "0.50", "0.50", "0.25", "4,101", "2,062", "2,048", "8"]
    assert len(figure.cells()) == len(HEADINGS)


def test_the_ratio_is_the_median_of_those_within_a_round() -> None:
    figure = Figure("dd")
    for number, (without, with_it) in enumerate([(2.0, 1.0), (20.0, 10.0), (2.0, 9.0)]):
        figure.add(Mode.WITHOUT, number, Sample(without, 0, 0, 0))
        figure.add(Mode.WITH, number, Sample(with_it, 0, 0, 0))
    assert figure.as_json()["ratio"] == 2.0


def test_what_failed_is_absent() -> None:
    figure = Figure("dd")
    figure.add(Mode.WITHOUT, 0, Sample(2.0, 0.5, 10, 5))
    assert figure.cells()[1:6] == ["2.00", "-", "-", "0.50", "-"]


def test_under_the_cache_every_handle_can_be_read_and_none_appends() -> None:
    assert adapted(os.O_WRONLY | os.O_APPEND | os.O_CREAT) == os.O_RDWR | os.O_CREAT
    assert adapted(os.O_RDONLY) == os.O_RDONLY
    assert adapted(os.O_RDWR | os.O_TRUNC) == os.O_RDWR | os.O_TRUNC


def test_a_question_that_fails_is_answered_by_its_errno() -> None:
    def missing(mount: object) -> str:
        raise FileNotFoundError(2, "not here")

    assert answer(missing, None) == "ENOENT"  # type: ignore[arg-type]


def test_every_work_is_done_in_the_mount(tmp_path: Path) -> None:
    found = works(Sources(tmp_path, Plan(files=2, small_blocks=256, large_blocks=2, inserts=5)))
    assert [
        work.what for work in found if not any("{mount}" in word for command in work.commands for word in command)
    ] == []
    assert [work.what for work in found if work.what.startswith("dd")] == ["dd bs=4k of 1 MiB", "dd bs=1M of 2 MiB"]
