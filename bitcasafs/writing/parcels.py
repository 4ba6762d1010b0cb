"""Which changes travel together: a pure function of the records that may go.

A request costs a round trip and, here and on the server, about a millisecond; a small file costs microseconds. So small
contents that wait at the same time share a request where the portal has `batch`, and so do changes of names and
attributes, apart from them: those are answered sooner. Each parcel counts as one upload.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitcasafs.writing.change import ChangeKind, Record


@dataclass(frozen=True, slots=True)
class ParcelLimits:
    """`each_bytes`: larger contents go alone (256 KiB take 10 ms at 200 Mbit/s, a round trip or two)."""

    records: int = 128
    total_bytes: int = 4 << 20
    each_bytes: int = 256 << 10


def parcels(
    chosen: Sequence[Record], limits: ParcelLimits | None, *, uploads: int, names: int
) -> list[tuple[Record, ...]]:
    """`chosen` (of `order.sendable`, none of which depends on another) in parcels: at most `uploads` with content and
    `names` of others. What has no place is left for the next look. `limits` None: the portal takes no batches.
    """
    contents = [record for record in chosen if record.change.kind is ChangeKind.CONTENT]
    others = [record for record in chosen if record.change.kind is not ChangeKind.CONTENT]
    if limits is None:
        return [(record,) for record in (*contents[:uploads], *others[:names])]
    return [*_packed(contents, limits)[:uploads], *_packed(others, limits)[:names]]


def _packed(contents: Iterable[Record], limits: ParcelLimits) -> list[tuple[Record, ...]]:
    packed: list[list[Record]] = []
    filling: list[Record] | None = None
    filled = 0
    for record in contents:
        size = record.change.fields.size_bytes or 0
        if not _may_share(record, limits):
            packed.append([record])
            continue
        if filling is None or len(filling) >= limits.records or filled + size > limits.total_bytes:
            filling, filled = [], 0
            packed.append(filling)
        filling.append(record)
        filled += size
    return [tuple(parcel) for parcel in packed]


def _may_share(record: Record, limits: ParcelLimits) -> bool:
    """Small and whole here; what may have arrived already is asked for again exactly as it was sent."""
    fields = record.change.fields
    small = (fields.size_bytes or 0) <= limits.each_bytes
    return small and not fields.base_limit and not record.unsure and fields.replacing is None
