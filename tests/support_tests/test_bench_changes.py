"""The rows of the benchmark of changes pass what keeps the promise, and nothing that was not measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench._change_figures import FLOOR, Returned, Sample, Sent, most_seconds, returned_headings
from tests.bench._change_works import Plan, Sources, check_portal, works
from tests.bench._mounts import NotSent
from tests.support.link_profile import FIBER, LOOP, WAN

DELAYS = ("0 ms", "80 ms")


def returned(floor: float, *ours: float) -> Returned:
    figure = Returned("cp", DELAYS)
    for name, seconds in zip((FLOOR, *DELAYS), (floor, *ours), strict=True):
        figure.add(name, 0, seconds)
    return figure


def test_the_portal_may_take_the_bytes_and_half_as_long_again_ten_round_trips_and_the_settling() -> None:
    assert most_seconds(25_000_000, FIBER) == pytest.approx(1.5 * 1.0 + 10 * 0.020 + 1.0)
    assert most_seconds(0, WAN) == pytest.approx(10 * 0.080 + 1.0)
    assert most_seconds(10**9, LOOP) == 1.0


def test_twice_the_floor_at_every_delay_passes() -> None:
    figure = returned(0.5, 0.95, 1.0)
    assert figure.cells() == ["cp", "0.50", "0.95", "1.00", "2.0", "pass", "5%", "pass"]
    assert len(figure.cells()) == len(returned_headings(DELAYS))


def test_the_slowest_delay_counts() -> None:
    assert returned(0.5, 0.8, 1.2).cells()[4:] == ["2.4", "fail", "50%", "fail"]
    assert returned(0.5, 0.8, 0.6).spread == pytest.approx(1 / 3)


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    figure = Returned("cp", ("0 ms",))
    for number, (floor, ours) in enumerate([(1.0, 1.5), (10.0, 15.0), (1.0, 9.0)]):
        figure.add(FLOOR, number, floor)
        figure.add("0 ms", number, ours)
    assert figure.to_floor == 1.5


def test_what_was_not_measured_does_not_pass() -> None:
    figure = Returned("cp", DELAYS)
    figure.add(FLOOR, 0, 1.0)
    figure.add("0 ms", 0, 1.0)
    assert figure.cells() == ["cp", "1.00", "1.00", "-", "-", "fail", "-", "fail"]
    assert Sent("fiber", "cp", 2.0).cells() == ["fiber: cp", "-", "-", "2.00", "fail"]


def test_the_sending_is_the_median_of_the_rounds_from_the_return() -> None:
    figure = Sent("fiber", "cp", 2.0, [Sample(0.5, 1.5), Sample(0.7, 9.0), Sample(0.6, 2.0)])
    assert figure.cells() == ["fiber: cp", "0.60", "2.00", "2.00", "pass"]
    assert figure.as_json()["seconds"] == 2.0


def test_the_portal_must_list_what_was_meant_whatever_the_mount_says(tmp_path: Path) -> None:
    sources = Sources(tmp_path / "sources", Plan(copied=3, unpacked=2, removed=1))
    copy, unpack, remove = works(sources)
    whole = sources.tree("copied")
    assert len(whole) == 3
    check_portal(copy, whole, sources)
    check_portal(unpack, sources.tree("unpacked"), sources)
    check_portal(remove, None, sources)
    for wrong in (None, {}, {**whole, "copied/folder 0/other": 1}, dict.fromkeys(whole, 1)):
        with pytest.raises(NotSent, match="says that all is sent"):
            check_portal(copy, wrong, sources)
    with pytest.raises(NotSent):
        check_portal(remove, {}, sources)


def test_a_work_is_a_command_in_the_mount(tmp_path: Path) -> None:
    copy, _, remove = works(Sources(tmp_path / "sources", Plan(copied=1, unpacked=1, removed=1)))
    assert copy.in_folder(copy.command, Path("/mnt"))[-1] == "/mnt"
    assert remove.in_folder(remove.command, Path("/mnt")) == ["rm", "-rf", "/mnt/removed"]
