from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.errors import ConfigError
from bitcasafs.units import (
    LARGEST_SIZE_BYTES,
    LONGEST_SECONDS,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("10G", 10 * 1024**3),
        ("10g", 10 * 1024**3),
        ("64MiB", 64 * 1024**2),
        ("1.5 GB", 1_500_000_000),
        ("2TB", 2 * 10**12),
        (" 1K ", 1024),
        ("0.5K", 512),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "G", "-1", "1.3", "1,5G", "10GG", "10 apples", "1e9", "0x10", "٣", "8192P", "1KiBB"]
)
def test_what_is_no_size_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15", 15), ("15s", 15), ("1m", 60), ("1h30m", 5400), ("250ms", 0.25), ("0", 0), ("1.5s", 1.5), ("2d1s", 172_801)],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1x", "30m1h", "1 m", "1M", "nan", "inf", "99999d", "1s1s"])
def test_what_is_no_duration_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


def test_a_long_wrong_text_is_quoted_in_short() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_size("x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (10 * 1024**3, "10.0 GiB"), (1024**2 - 1, "1.00 MiB")],
)
def test_a_size_is_shown_in_its_fitting_unit(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@given(st.integers(0, LARGEST_SIZE_BYTES))
def test_a_shown_size_is_read_back_within_a_percent(size_bytes: int) -> None:
    number, unit = format_size(size_bytes).split(" ")
    factor = 1024 ** ("BKMGTP".index(unit[0]))
    assert abs(float(number) * factor - size_bytes) <= size_bytes / 100
    assert len(number) <= 5


@given(st.integers(0, LARGEST_SIZE_BYTES))
def test_plain_bytes_are_read_back_exactly(size_bytes: int) -> None:
    assert parse_size(str(size_bytes)) == size_bytes


@given(st.integers(0, int(LONGEST_SECONDS) * 1000))
def test_a_shown_duration_is_read_back_exactly(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except ConfigError as error:
            assert str(error)  # noqa: PT017 - a refusal is one of two right answers here
