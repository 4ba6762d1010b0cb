"""Attributes laid over attributes: pending ones over the portal's, new ones over those that are kept here. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace

from bitcasafs.values.items import Attributes

NONE = Attributes()
"""Says nothing. Passing this very value on costs nothing (4 us saved, six times a new file)."""
_NAMES = [field.name for field in fields(Attributes) if field.name != "xattrs"]


def laid_over(below: Attributes, above: Attributes, dropped: Collection[str] = ()) -> Attributes:
    """`above` where it says something, else `below`, without the extended attributes `dropped` from below."""
    if above is NONE and not dropped:
        return below
    if below is NONE and not dropped:
        return above
    said = {name: value for name in _NAMES if (value := getattr(above, name)) is not None}
    xattrs = {name: value for name, value in below.xattrs.items() if name not in dropped}
    return replace(below, **said, xattrs={**xattrs, **above.xattrs})
