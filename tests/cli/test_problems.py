"""What is said of changes that cannot be sent."""

from __future__ import annotations

from bitcasafs.cli.problems import problem_lines
from bitcasafs.status import ProblemStatus, Status


def test_five_are_shown_and_the_rest_is_counted() -> None:
    problems = tuple(ProblemStatus(f"/file {number}", "the drive is full") for number in range(20))
    lines = problem_lines(Status(7, "/mnt", "portal", "1", staging="/s/staged", problem_count=45, problems=problems))
    assert lines[0] == "45 changes could not be sent:"
    assert lines[1:6] == [f"  /file {number}: the drive is full" for number in range(5)]
    assert lines[6] == "  and 40 more"
    assert "/s/staged" in lines[7]
    assert len(lines) == 9


def test_without_problems_nothing_is_said() -> None:
    assert problem_lines(Status(7, "/mnt", "portal", "1")) == []
