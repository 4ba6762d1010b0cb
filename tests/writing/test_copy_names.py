"""Names of conflict copies and of what a crash left: readable, unique, at most 255 bytes, with their extension."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.dialects.names import NAME_BYTES, check_name
from bitcasafs.writing.copy_names import conflict_name, recovered_name
from tests.support.strategies import names

DAY = date(2026, 11, 24)


def nobody(_: str) -> bool:
    return False


def test_a_conflict_copy_says_who_and_when_before_the_extension() -> None:
    assert conflict_name("letter.odt", "desk", DAY, nobody) == "letter (conflict from desk 2026-11-24).odt"
    assert conflict_name("Makefile", "desk.example.org", DAY, nobody) == "Makefile (conflict from desk 2026-11-24)"


def test_a_recovered_file_says_when() -> None:
    assert recovered_name("letter.odt", DAY, nobody) == "letter (recovered 2026-11-24).odt"


def test_a_name_that_is_taken_is_passed_over() -> None:
    taken = {"a (recovered 2026-11-24).txt", "a (recovered 2026-11-24 2).txt"}
    assert recovered_name("a.txt", DAY, taken.__contains__) == "a (recovered 2026-11-24 3).txt"


def test_a_host_name_cannot_lead_out_of_the_folder() -> None:
    assert conflict_name("a", "../x y", DAY, nobody) == "a (conflict from unknown 2026-11-24)"
    assert conflict_name("a", "x/y z", DAY, nobody) == "a (conflict from x-y-z 2026-11-24)"


@given(names, st.text(max_size=300))
def test_whatever_the_names_the_result_is_a_name(name: str, host: str) -> None:
    found = conflict_name(name, host, DAY, nobody)
    assert check_name(found) == found
    assert len(found.encode()) <= NAME_BYTES
