"""What a mount's snapshot says to a person."""

from __future__ import annotations

from bitcasafs.status import ProblemStatus, Status, UploadStatus

QUIET = Status(7, "/home/me/bitcasa", "https://portal.example.org", "1", uptime_seconds=61.2)


def test_a_quiet_mount_says_that_all_is_there() -> None:
    assert QUIET.to_text().splitlines() == [
        "/home/me/bitcasa: mounted (process 7, for 1m1s)",
        "  portal    https://portal.example.org",
        "  changes   all on the portal",
    ]
    assert QUIET.is_drained


def test_what_is_sent_and_what_keeps_the_rest_is_told() -> None:
    busy = Status(
        7, "/mnt", "portal", "1", mounted=False, pending=2, pending_bytes=3 << 20, last_error="the portal is away",
        sending=(UploadStatus("/film", 1 << 20, 2 << 20),),
    )  # fmt: skip
    text = busy.to_text()
    assert "unmounted, still sending" in text
    assert "2 changes to send (3.00 MiB)" in text
    assert "/film (1.00 MiB of 2.00 MiB)" in text
    assert "waiting   the portal is away" in text
    assert not busy.is_drained


def test_problems_are_listed_up_to_a_screen() -> None:
    problems = tuple(ProblemStatus(f"/file {number}", "the drive is full") for number in range(30))
    text = Status(7, "/mnt", "portal", "1", problem_count=45, problems=problems).to_text()
    assert "all but the problems below are on the portal" in text
    assert "/file 19: the drive is full" in text
    assert "/file 20" not in text
    assert "and 25 more" in text


def test_faults_of_our_own_are_told() -> None:
    text = Status(7, "/mnt", "portal", "1", kernel_faults=2, last_fault="read: KeyError").to_text()
    assert "2 requests failed inside BitcasaFS, last read: KeyError" in text
