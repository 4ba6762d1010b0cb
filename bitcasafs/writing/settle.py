"""What waits for a further seal before it is sent, and for how long: a pure function of the record and of times.

Most changes go at once. Content of a file that was sent a moment ago will probably change again: ten quick saves are
two uploads. A new file, or an old one moved aside, under the name of a temporary or backup file is probably half of a
save by rename: while it waits, the rename folds into new content of the one file, whose history goes on.

Seconds on one monotonic clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bitcasafs.writing.change import ChangeKind, Record

RECENT_SECONDS = 60.0
"""For so long a file counts as sent a moment ago."""

_LONGEST = 10.0
"""A file that is saved again and again waits at most so many settle times."""

_PASSING = re.compile(
    r"\..* | .*~ | .*\.(tmp|temp|bak|part|partial|crdownload|swp|new|orig) | \#.*\# | [0-9]{4} | sed\w{6}",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""Names of files that live for a moment: of editors (vim's `4913`, emacs's `#name#`), of rsync (`.name.XXXXXX`), of
browsers and of sed -i. A hidden file that stays is sent a settle time later, which nobody sees."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Since when a record waits: the first and the latest time that it was seen ready with what it has now."""

    generation: int
    first: float
    latest: float

    def seen(self, generation: int, now: float) -> Waiting:
        return self if generation == self.generation else Waiting(generation, self.first, now)

    def due(self, settle_seconds: float) -> float:
        """When it goes."""
        return min(self.latest + settle_seconds, self.first + _LONGEST * settle_seconds)


def settles(record: Record, *, sent_lately: bool) -> bool:
    """It waits for a settle time. `sent_lately`: content of the node was sent within RECENT_SECONDS."""
    fields = record.change.fields
    match record.change.kind:
        case ChangeKind.CONTENT:
            return sent_lately or (record.makes and _is_passing(fields.name))
        case ChangeKind.MOVE:
            return _is_passing(fields.name)
        case _:
            return False


def _is_passing(name: str | None) -> bool:
    return name is not None and _PASSING.fullmatch(name) is not None
