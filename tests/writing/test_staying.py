"""When content of a file that stays open goes: times alone."""

from __future__ import annotations

import pytest

from bitcasafs.writing.staying import Activity


@pytest.mark.parametrize(
    ("writes", "due"),
    [
        ([0], 30),
        ([0, 10, 25], 55),
        (range(0, 580, 10), 600),
        (range(0, 2000, 20), 600),
    ],
    ids=["once", "then quiet", "busy to the end", "busy far beyond"],
)
def test_it_is_due_after_a_pause_and_at_the_latest_after_ten_minutes(writes: list[int], due: float) -> None:
    first, *others = writes
    activity = Activity.at(first)
    for at in others:
        activity = activity.again(at)
    assert activity.due == due
    assert activity.overdue == 600
