"""What happened that a person should know."""

from __future__ import annotations

from bitcasafs.vfs.notices import MOST, Notice, Notices


def test_the_latest_are_kept_oldest_first_with_their_time() -> None:
    times = iter(range(1000))
    notices = Notices(clock=lambda: float(next(times)))
    for number in range(MOST + 20):
        notices.add(f"file {number}", "theirs stays")
    kept = notices.list()
    assert len(kept) == MOST
    assert kept[0] == Notice("file 20", "theirs stays", 20.0)
    assert kept[-1] == Notice(f"file {MOST + 19}", "theirs stays", float(MOST + 19))
