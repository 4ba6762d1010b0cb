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
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from bitcasafs.errors import ProtocolError
from bitcasafs.status import Status

VERSION = 1
LINE_BYTES = 1024 * 1024


class Ask(enum.Enum):
    """`STATUS`: one snapshot. `SYNC`: wait for changes, with progress. `DRAIN_STATUS`: what is left, without the lists.
    `END`: wait until the mount is gone and everything is sent that can be. `HANDOVER`: a process that only sends still
    ends, so that a new mount can take the outbox."""

    STATUS = "status"
    SYNC = "sync"
    DRAIN_STATUS = "drain-status"
    END = "end"
    HANDOVER = "handover"


class ReplyKind(enum.Enum):
    STATUS = "status"
    PROGRESS = "progress"
    DONE = "done"
    REFUSED = "refused"


LAST = frozenset({ReplyKind.STATUS, ReplyKind.DONE, ReplyKind.REFUSED})
"""After one of these nothing more comes."""


@dataclass(frozen=True, slots=True)
class Request:
    """`until`: the newest change to wait for (SYNC); None is whatever exists when the request arrives."""

    ask: Ask
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """`status` with all but REFUSED, `message` with REFUSED."""

    kind: ReplyKind
    status: Status | None = None
    message: str = ""


def encode_request(request: Request) -> bytes:
    document: dict[str, object] = {"version": VERSION, "request": request.ask.value}
    if request.until is not None:
        document["until"] = request.until
    return _line(document)


def parse_request(line: bytes) -> Request:
    """ProtocolError: no JSON object, another version, an unknown request."""
    document = _document(line, "request")
    try:
        ask = Ask(document.get("request"))
    except ValueError:
        raise ProtocolError("an unknown request", document.get("request")) from None
    until = document.get("until")
    if until is not None and (not isinstance(until, int) or isinstance(until, bool) or until < 0):
        raise ProtocolError("`until` is the number of a change", until)
    return Request(ask, until)


def encode_reply(reply: Reply) -> bytes:
    document: dict[str, object] = {"version": VERSION, "reply": reply.kind.value}
    if reply.status is not None:
        document["status"] = reply.status.to_json()
    if reply.message:
        document["message"] = reply.message
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
