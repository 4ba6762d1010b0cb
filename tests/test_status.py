"""What a mount's snapshot says to a person."""

from __future__ import annotations

from dataclasses import replace

from bitcasafs.status import NoticeStatus, ProblemStatus, Status, UploadStatus

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


def test_what_goes_is_told_with_its_rate_and_the_time_that_is_left() -> None:
    busy = Status(
        7, "/mnt", "portal", "1", pending=2, pending_bytes=40 << 20, bytes_per_second=float(1 << 20),
        sending=(UploadStatus("film", 10 << 20, 40 << 20),),
    )  # fmt: skip
    assert busy.seconds_left == 30
    assert "2 changes to send (40.0 MiB, 1.00 MiB/s, about 30s left)" in busy.to_text()
    assert replace(busy, bytes_per_second=float(60 << 20)).speed_text() == "60.0 MiB/s"
    assert "2 changes to send (40.0 MiB)" in replace(busy, bytes_per_second=0.0).to_text()
    assert replace(busy, pending=0).speed_text() == ""


def test_an_estimate_has_as_many_digits_as_it_is_worth() -> None:
    told = {}
    for seconds in (59.6, 599.0, 4000.0, 200_000.0):
        busy = Status(7, "/mnt", "portal", "1", pending=1, pending_bytes=round(seconds * 1000), bytes_per_second=1000.0)
        told[seconds] = busy.speed_text().partition("about ")[2]
    assert told == {59.6: "1m left", 599.0: "9m59s left", 4000.0: "1h7m left", 200_000.0: "2d8h left"}


def test_a_change_that_waits_for_long_is_worth_a_word() -> None:
    waiting = Status(7, "/mnt", "portal", "1", pending=1, oldest_seconds=59.0)
    assert "oldest" not in waiting.to_text()
    assert "; the oldest waits for 2h30m" in replace(waiting, oldest_seconds=9000.0).to_text()


def test_a_problem_has_its_number_and_what_to_do_about_it() -> None:
    text = Status(7, "/mnt", "portal", "1", problem_count=1, problems=(ProblemStatus("a", "full", 12),)).to_text()
    assert "  problem   #12 a: full\n" in text
    assert "bitcasafs outbox list" in text


def test_the_latest_notices_are_shown_and_the_others_counted() -> None:
    notices = tuple(NoticeStatus(f"file {number}", "theirs stays", 3600.0 - number) for number in range(8))
    text = replace(QUIET, notices=notices).to_text()
    assert "  note      file 7: theirs stays (1h ago)" in text
    assert "file 2:" not in text
    assert "and 3 older" in text


def test_what_an_older_mount_does_not_know_is_left_at_its_default() -> None:
    document = Status(7, "/mnt", "portal", "1", problems=(ProblemStatus("a", "full", 12),)).to_json()
    for name in ("bytes_per_second", "oldest_seconds", "notices"):
        del document[name]
    del document["problems"][0]["id"]
    assert Status.from_json(document) == Status(7, "/mnt", "portal", "1", problems=(ProblemStatus("a", "full"),))
