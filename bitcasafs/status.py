"""What is going on in a mount, as one frozen snapshot: for `bitcasafs status`, for umount.bitcasafs, for machines.

Who uses: `mount.compose` fills it from everybody's `statistics()`, `control` carries it, the command line prints it.
Pure. Times in seconds, sizes in bytes. `to_json` and `from_json` are each other's inverse; unknown fields are ignored,
so that a command of one version can ask a mount of another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitcasafs.errors import ProtocolError
from bitcasafs.units import format_duration, format_size

_SHOWN_PROBLEMS = 20
_SHOWN_NOTICES = 5
_OLD_SECONDS = 60
"""A change that waits longer than that is worth a word."""


@dataclass(frozen=True, slots=True)
class ProblemStatus:
    """A change that the portal refused and that waits for a person. `path` inside the mount; `id`: what `bitcasafs
    outbox` takes."""

    path: str
    reason: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class NoticeStatus:
    """What happened to `path`, inside the mount, so long ago: nothing is lost, and a person should know."""

    path: str
    text: str
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """One content on its way."""

    path: str
    sent_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """How the portal answers. `mean_seconds`: of the requests so far; None before the first."""

    requests: int = 0
    failures: int = 0
    mean_seconds: float | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """`pending` counts the changes that are still to be sent, those on their way included. `problem_count` more stay
    besides, of which `problems` describes the first.

    `bytes_per_second`: what goes to the portal, over the last seconds. `oldest_seconds`: since when the oldest change
    waits; None: none does, or it is not known. `notices`: oldest first.

    `mounted` is False once the kernel has let go and the process goes on sending, for `linger_seconds` at most (None:
    until all is sent). `newest_change`: the id of the latest change, a moment to wait for. `kernel_faults`: requests
    answered EIO for a fault of ours.
    """

    pid: int
    mountpoint: str
    portal: str
    version: str
    mounted: bool = True
    uptime_seconds: float = 0.0
    timeout_seconds: float = 15.0
    linger_seconds: float | None = None
    staging: str = ""
    pending: int = 0
    pending_bytes: int = 0
    sending: tuple[UploadStatus, ...] = ()
    problem_count: int = 0
    problems: tuple[ProblemStatus, ...] = ()
    newest_change: int = 0
    sent_changes: int = 0
    sent_bytes: int = 0
    failed_attempts: int = 0
    last_error: str | None = None
    kernel_faults: int = 0
    last_fault: str | None = None
    kernel_limits_raised: bool | None = None
    remote: RemoteStatus = RemoteStatus()
    bytes_per_second: float = 0.0
    oldest_seconds: float | None = None
    notices: tuple[NoticeStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: object) -> Status:
        """ProtocolError when it is no status."""
        values = _known(cls, document)
        try:
            values["sending"] = tuple(UploadStatus(**_known(UploadStatus, row)) for row in values.get("sending", ()))
            problems = values.get("problems", ())
            values["problems"] = tuple(ProblemStatus(**_known(ProblemStatus, row)) for row in problems)
            notices = values.get("notices", ())
            values["notices"] = tuple(NoticeStatus(**_known(NoticeStatus, row)) for row in notices)
            values["remote"] = RemoteStatus(**_known(RemoteStatus, values.get("remote", {})))
            return cls(**values)
        except TypeError as error:
            raise ProtocolError(f"the status is not whole ({error})", document) from None

    @property
    def is_drained(self) -> bool:
        """Nothing is left that sending could bring to the portal."""
        return self.pending == 0

    @property
    def seconds_left(self) -> float | None:
        """Until all is sent, if it goes on like this. None: nothing moves."""
        if not self.pending or not self.bytes_per_second:
            return None
        left = self.pending_bytes - sum(upload.sent_bytes for upload in self.sending)
        return max(0, left) / self.bytes_per_second

    def speed_text(self) -> str:
        """`1.20 MiB/s, about 2m30s left`; the time only when it is longer than a second. Empty when nothing moves."""
        if self.seconds_left is None:
            return ""
        speed = f"{format_size(round(self.bytes_per_second))}/s"
        return speed if self.seconds_left <= 1 else f"{speed}, about {_about(self.seconds_left)} left"

    def to_text(self) -> str:
        """Some lines for a terminal."""
        state = "mounted" if self.mounted else "unmounted, still sending"
        lines = [
            f"{self.mountpoint}: {state} (process {self.pid}, for {format_duration(round(self.uptime_seconds))})",
            f"  portal    {self.portal}",
            f"  changes   {self._changes()}",
        ]
        lines += [
            f"  sending   {upload.path} ({format_size(upload.sent_bytes)} of {format_size(upload.size_bytes)})"
            for upload in self.sending
        ]
        lines += self._problem_lines()
        lines += self._notice_lines()
        if self.pending and self.last_error:
            lines.append(f"  waiting   {self.last_error}")
        if self.kernel_faults:
            lines.append(f"  faults    {self.kernel_faults} requests failed inside BitcasaFS, last {self.last_fault}")
        return "\n".join(lines)

    def _changes(self) -> str:
        if not self.pending:
            return "all on the portal" if not self.problem_count else "all but the problems below are on the portal"
        plural = "" if self.pending == 1 else "s"
        inside = ", ".join(part for part in (format_size(self.pending_bytes), self.speed_text()) if part)
        text = f"{self.pending} change{plural} to send ({inside})"
        if self.oldest_seconds is not None and self.oldest_seconds > _OLD_SECONDS:
            text += f"; the oldest waits for {_about(self.oldest_seconds)}"
        return text

    def _problem_lines(self) -> list[str]:
        shown = self.problems[:_SHOWN_PROBLEMS]
        lines = [
            f"  problem   {f'#{problem.id} ' if problem.id else ''}{problem.path}: {problem.reason}"
            for problem in shown
        ]
        if self.problem_count > len(shown):
            lines.append(f"  problem   and {self.problem_count - len(shown)} more")
        if lines:
            lines.append(
                "            `bitcasafs outbox list` tells more; outbox retry, export and discard take their numbers"
            )
        return lines

    def _notice_lines(self) -> list[str]:
        shown = self.notices[-_SHOWN_NOTICES:]
        lines = [f"  note      {notice.path}: {notice.text} ({_about(notice.age_seconds)} ago)" for notice in shown]
        if len(self.notices) > len(shown):
            lines.append(f"  note      and {len(self.notices) - len(shown)} older (--json has them)")
        return lines


def _about(seconds: float) -> str:
    """A duration in as many digits as mean something to a person: `12s`, `4m10s`, `1h25m`, `3d2h`."""
    for longest, step in ((600, 1), (86400, 60)):
        if seconds < longest:
            return format_duration(round(seconds / step) * step)
    return format_duration(round(seconds / 3600) * 3600)


def _known(kind: type[Any], document: object) -> dict[str, Any]:
    """The fields of `document` that `kind` has, of simple JSON types as they came."""
    if not isinstance(document, Mapping):
        raise ProtocolError(f"{kind.__name__} is an object", document)
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in document.items() if name in names}
