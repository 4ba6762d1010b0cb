"""The rows of the benchmark of mounts say what was measured."""

from __future__ import annotations

from tests.bench._figures import BYTES, FILES
from tests.bench._mount_figures import FLOOR, OURS, THEIRS, Figure, Sample


def sample(returned: float, sent: float | None = None) -> Sample:
    return Sample(returned, returned if sent is None else sent, mount_cpu_seconds=1.5, server_cpu_seconds=0.25)


def test_a_read_is_one_row_of_speeds_ratios_and_costs() -> None:
    figure = Figure("loop", "read", BYTES, 100_000_000, is_sent=False)
    for contender, seconds in ((OURS, 0.5), (THEIRS, 1.0), (FLOOR, 0.1)):
        figure.add(contender, 0, sample(seconds))
    assert figure.speeds() == [["read", "MB/s", "200", "100", "1,000", "2.00", "0.20"]]
    assert figure.costs() == ["read", "1.50", "0.25", "1.50", "0.25", "1.50"]


def test_what_goes_to_the_portal_has_two_ends() -> None:
    figure = Figure("loop", "in", FILES, 100, is_sent=True)
    figure.add(OURS, 0, sample(1.0, 4.0))
    figure.add(THEIRS, 0, sample(2.0, 2.0))
    assert figure.speeds() == [
        ["in: returned", "files/s", "100", "50.0", "-", "2.00", "-"],
        ["in: on the portal", "files/s", "25.0", "50.0", "-", "0.50", "-"],
    ]


def test_a_ratio_is_the_median_of_the_rounds_that_both_finished() -> None:
    figure = Figure("loop", "read", BYTES, 1, is_sent=False)
    for number, (ours, theirs) in enumerate([(1.0, 1.0), (2.0, 6.0), (1.0, 2.0)]):
        figure.add(OURS, number, sample(ours))
        figure.add(THEIRS, number, sample(theirs))
    figure.add(OURS, 3, sample(100.0))
    assert figure.as_json()["returned_to_rclone"] == 2.0
    assert figure.as_json()["sent_to_floor"] is None
