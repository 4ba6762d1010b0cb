"""Sizes and durations as people write them: `10G`, `64MiB`, `15s`, `1h30m`.

Who uses: options, the command line, status. Pure. A text that says nothing clear is a `ConfigError` that quotes it.

Letters alone are binary, as the disk tools have it: `K`, `M`, `G`, `T`, `P` are `KiB`, `MiB` and so on; `KB`, `MB` and
the like are powers of ten. Letter case does not matter for sizes; for durations it does (`m` is a minute).
"""

from __future__ import annotations

import re
from decimal import Decimal

from bitcasafs.errors import ConfigError

LARGEST_SIZE_BYTES = 2**63 - 1
"""What a kernel and a database can hold in a signed number."""

LONGEST_SECONDS = 100 * 365 * 86400.0
"""A century: still exact in nanoseconds of 64 bits."""

_PREFIXES = "kmgtp"
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?(?:([kmgtp])(i?b)?|b)?", re.ASCII | re.IGNORECASE)
_SECONDS_PER_UNIT = {"d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_PART = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
_DURATION = re.compile(rf"(?:({_PART})d)?(?:({_PART})h)?(?:({_PART})m)?(?:({_PART})s)?(?:({_PART})ms)?", re.ASCII)
_NUMBER = re.compile(_PART, re.ASCII)


def parse_size(text: str) -> int:
    """Bytes. `512`, `512B`, `10G`, `64MiB`, `1.5 GB`. ConfigError: no size, not whole bytes, or more than 2**63-1."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{_quoted(text)} is not a size; write for example 512M, 10G or 1.5TB")
    number, prefix, ending = match.groups()
    factor = 1
    if prefix is not None:
        base = 1000 if (ending or "").lower() == "b" else 1024
        factor = base ** (_PREFIXES.index(prefix.lower()) + 1)
    size = Decimal(number) * factor
    if size > LARGEST_SIZE_BYTES:
        raise ConfigError(f"{_quoted(text)} is larger than any file can be")
    if size != int(size):
        raise ConfigError(f"{_quoted(text)} is not a whole number of bytes")
    return int(size)


def format_size(size_bytes: int) -> str:
    """For a person, three digits at least: `512 B`, `1.50 KiB`, `10.0 GiB`. `parse_size` reads it, within a percent."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    value, power = size_bytes / 1024, 0
    while value >= 1023.5 and power + 1 < len(_PREFIXES):
        value, power = value / 1024, power + 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_PREFIXES[power].upper()}iB"


def parse_duration(text: str) -> float:
    """Seconds. `15`, `15s`, `1m`, `250ms`, `1h30m`. ConfigError: no duration, or more than a century."""
    bare = text.strip()
    if _NUMBER.fullmatch(bare):
        seconds = Decimal(bare)
    else:
        match = _DURATION.fullmatch(bare)
        if not bare or match is None:
            raise ConfigError(f"{_quoted(text)} is not a duration; write for example 15s, 5m or 1h30m")
        parts = zip(match.groups(), _SECONDS_PER_UNIT.values(), strict=True)
        seconds = sum((Decimal(number) * unit for number, unit in parts if number is not None), Decimal(0))
    if seconds > LONGEST_SECONDS:
        raise ConfigError(f"{_quoted(text)} is longer than a century")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """The same in its parts, to the millisecond: `0s`, `250ms`, `1h30m`, `2d1s`. `parse_duration` reads it back."""
    rest = round(seconds * 1000)
    parts = []
    for name, unit in _SECONDS_PER_UNIT.items():
        count, rest = divmod(rest, int(unit * 1000))
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def _quoted(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."
