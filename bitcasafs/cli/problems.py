"""What commands say about changes that sending cannot bring to the portal."""

from __future__ import annotations

from bitcasafs.status import Status

_SHOWN = 5


def problem_lines(status: Status) -> list[str]:
    """How many, the first of them with their reasons, where their content lies, and what helps. Empty without any."""
    count = status.problem_count
    if not count:
        return []
    shown = status.problems[:_SHOWN]
    lines = [f"{count} change{'' if count == 1 else 's'} could not be sent:"]
    lines += [f"  {f'#{problem.id} ' if problem.id else ''}{problem.path}: {problem.reason}" for problem in shown]
    if count > len(shown):
        lines.append(f"  and {count - len(shown)} more")
    lines.append(f"what was written is kept in {status.staging}, with the file's name behind a number;")
    lines.append("bitcasafs outbox lists them while the drive is mounted, tries again, exports or discards")
    return lines
