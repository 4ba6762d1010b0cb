"""What goes over a mount's socket: lines of JSON, one request a connection, then replies until the last.

Who uses: `service` and `client`, both ends of the same forms. Pure. A line has at most 1 MiB; each carries `version`.

    -> {"version": 1, "request": "status"}
    <- {"version": 1, "reply": "status", "status": {...}}

    -> {"version": 1, "request": "sync", "until": 17}          (no `until`: the changes that exist now)
    <- {"version": 1, "reply": "progress", "status": {...}}    (any number of them)
    <- {"version": 1, "reply": "done", "status": {...}}

    -> {"version": 1, "request": "end"}                        (the same, until the process is about to end)

    -> {"version": 1, "request": "handover"}
    <- {"version": 1, "reply": "done", "status": {...}} or {"version": 1, "reply": "refused", "message": "..."}

    -> {"version": 1, "request": "outbox", "everything": true}
    -> {"version": 1, "request": "retry", "changes": [7, 9]}
    -> {"version": 1, "request": "plan-discard", "changes": [7], "recursive": true}
    -> {"version": 1, "request": "discard", "changes": [7]}
    <- {"version": 1, "reply": "changes", "changes": [...]}    (any number of them; of retry and discard: what was done)
    <- {"version": 1, "reply": "done", "status": {...}}

    -> {"version": 1, "request": "export", "changes": [7]}
    <- {"version": 1, "reply": "content", "content": {...}}    (any number of them)
    <- {"version": 1, "reply": "done", "status": {...}}
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from bitcasafs.control.changes import ChangeStatus, ContentStatus
from bitcasafs.errors import ProtocolError
from bitcasafs.status import Status

VERSION = 1
LINE_BYTES = 1024 * 1024


class Ask(enum.Enum):
    """`STATUS`: one snapshot. `SYNC`: wait for changes, with progress. `DRAIN_STATUS`: what is left, without the lists.
    `END`: wait until the mount is gone and everything is sent that can be. `HANDOVER`: a process that only sends still
    ends, so that a new mount can take the outbox.

    `OUTBOX`: the changes that wait for a person. `RETRY`: they are sent again. `PLAN_DISCARD`: what `DISCARD` would
    forget. `EXPORT`: where the content of one lies."""

    STATUS = "status"
    SYNC = "sync"
    DRAIN_STATUS = "drain-status"
    END = "end"
    HANDOVER = "handover"
    OUTBOX = "outbox"
    RETRY = "retry"
    EXPORT = "export"
    PLAN_DISCARD = "plan-discard"
    DISCARD = "discard"


class ReplyKind(enum.Enum):
    STATUS = "status"
    PROGRESS = "progress"
    CHANGES = "changes"
    CONTENT = "content"
    DONE = "done"
    REFUSED = "refused"


LAST = frozenset({ReplyKind.STATUS, ReplyKind.DONE, ReplyKind.REFUSED})
"""After one of these nothing more comes."""


@dataclass(frozen=True, slots=True)
class Request:
    """`until`: the newest change to wait for (SYNC); None is whatever exists when the request arrives. `changes`: which
    ones RETRY (none: all problems), EXPORT (one) and DISCARD mean. `everything`: OUTBOX tells of all that is pending.
    `recursive`: DISCARD takes what waits for those changes along."""

    ask: Ask
    until: int | None = None
    changes: tuple[int, ...] = ()
    everything: bool = False
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """`changes` with CHANGES, `content` with CONTENT, `message` with REFUSED, `status` with all others."""

    kind: ReplyKind
    status: Status | None = None
    message: str = ""
    changes: tuple[ChangeStatus, ...] = ()
    content: ContentStatus | None = None


def encode_request(request: Request) -> bytes:
    document: dict[str, object] = {"version": VERSION, "request": request.ask.value}
    if request.until is not None:
        document["until"] = request.until
    if request.changes:
        document["changes"] = list(request.changes)
    for name in ("everything", "recursive"):
        if getattr(request, name):
            document[name] = True
    return _line(document)


def parse_request(line: bytes) -> Request:
    """ProtocolError: no JSON object, another version, an unknown request."""
    document = _document(line, "request")
    try:
        ask = Ask(document.get("request"))
    except ValueError:
        raise ProtocolError("an unknown request", document.get("request")) from None
    until, changes = document.get("until"), document.get("changes", [])
    if until is not None and not _is_number(until):
        raise ProtocolError("`until` is the number of a change", until)
    if not isinstance(changes, list) or not all(_is_number(one) for one in changes):
        raise ProtocolError("`changes` is a list of numbers of changes", changes)
    return Request(
        ask, until if isinstance(until, int) else None, tuple(changes), _told(document, "everything"),
        _told(document, "recursive"),
    )  # fmt: skip


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _told(document: dict[str, object], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise ProtocolError(f"`{name}` is true or false", value)
    return value


def encode_reply(reply: Reply) -> bytes:
    document: dict[str, object] = {"version": VERSION, "reply": reply.kind.value}
    if reply.status is not None:
        document["status"] = reply.status.to_json()
    if reply.message:
        document["message"] = reply.message
    if reply.kind is ReplyKind.CHANGES:
        document["changes"] = [change.to_json() for change in reply.changes]
    if reply.content is not None:
        document["content"] = reply.content.to_json()
    return _line(document)


def parse_reply(line: bytes) -> Reply:
    """ProtocolError: no JSON object, another version, an unknown reply, a reply without its status."""
    document = _document(line, "reply")
    try:
        kind = ReplyKind(document.get("reply"))
    except ValueError:
        raise ProtocolError("an unknown reply", document.get("reply")) from None
    if kind is ReplyKind.REFUSED:
        return Reply(kind, message=str(document.get("message", "")))
    if kind is ReplyKind.CHANGES:
        changes = document.get("changes")
        if not isinstance(changes, list):
            raise ProtocolError("`changes` is a list", changes)
        return Reply(kind, changes=tuple(ChangeStatus.from_json(change) for change in changes))
    if kind is ReplyKind.CONTENT:
        return Reply(kind, content=ContentStatus.from_json(document.get("content")))
    return Reply(kind, Status.from_json(document.get("status")))


def _line(document: dict[str, object]) -> bytes:
    # Surrogates (a mountpoint that is not UTF-8) travel as \\u escapes.
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _document(line: bytes, what: str) -> dict[str, object]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError(f"a {what} is a line of JSON", line[:80]) from None
    if not isinstance(document, dict):
        raise ProtocolError(f"a {what} is a JSON object", document)
    if document.get("version") != VERSION:
        raise ProtocolError(f"version {VERSION} of a {what}", document.get("version"))
    return document
