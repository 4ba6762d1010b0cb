"""What the mount's socket tells of the outbox: changes for a person, and where the content of one lies.

Who uses: `messages` carries them, `mount.life` fills them, the command line prints them. Pure. Unknown fields are
ignored, as in `status`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bitcasafs.errors import ProtocolError

_LINE_CHARACTERS = 100_000
"""Of texts in one reply: each may become 6 bytes of JSON, and a line has at most 1 MiB."""
_LINE_RANGES = 20_000
"""Of ranges in one reply: each is 42 bytes at most."""
_FIXED_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class ChangeStatus:
    """A change that is not on the portal. `path` inside the mount; `kind` and `state` are names of `writing.change`,
    `what` says the same in words; `size_bytes`: of its content; `reason`: of a problem; `made_ns`: since when, ns
    since the epoch; 0: not known."""

    id: int
    path: str
    kind: str = ""
    what: str = ""
    state: str = ""
    size_bytes: int | None = None
    reason: str | None = None
    made_ns: int = 0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: object) -> ChangeStatus:
        """ProtocolError when it is none."""
        return cls(**_known(cls, document))


@dataclass(frozen=True, slots=True)
class ContentStatus:
    """The staged file of a problem. `written`: half-open ranges of what there is of the content, where the rest is not
    on this machine; None: it is all there. Several replies may each bring some of the ranges."""

    path: str
    size_bytes: int
    written: tuple[tuple[int, int], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: object) -> ContentStatus:
        """ProtocolError when it is none."""
        values = _known(cls, document)
        try:
            if values.get("written") is not None:
                values["written"] = tuple((int(start), int(stop)) for start, stop in values["written"])
        except (TypeError, ValueError):
            raise ProtocolError("ranges are pairs of numbers", values["written"]) from None
        return cls(**values)


def in_lines(changes: Iterable[ChangeStatus]) -> Iterator[tuple[ChangeStatus, ...]]:
    """As many at once as fit a reply; at least one piece, which may be empty."""
    piece: list[ChangeStatus] = []
    length = 0
    for change in changes:
        own = _FIXED_CHARACTERS + len(change.path) + len(change.what) + len(change.reason or "")
        if piece and length + own > _LINE_CHARACTERS:
            yield tuple(piece)
            piece, length = [], 0
        piece.append(change)
        length += own
    yield tuple(piece)


def content_in_lines(content: ContentStatus) -> Iterator[ContentStatus]:
    """The same with as many ranges at once as fit a reply."""
    if not content.written:
        yield content
        return
    for start in range(0, len(content.written), _LINE_RANGES):
        yield dataclasses.replace(content, written=content.written[start : start + _LINE_RANGES])


def _known(kind: type[Any], document: object) -> dict[str, Any]:
    """The fields of `document` that `kind` has, of simple JSON types as they came."""
    if not isinstance(document, Mapping):
        raise ProtocolError(f"{kind.__name__} is an object", document)
    found = {one.name: document[one.name] for one in dataclasses.fields(kind) if one.name in document}
    for one in dataclasses.fields(kind):
        if one.default is dataclasses.MISSING and one.name not in found:
            raise ProtocolError(f"{kind.__name__} has {one.name}", document)
    return found
