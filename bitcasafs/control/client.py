"""Asking a running mount, from a command: blocking calls on its socket.

Who uses: the command line and a new mount that wants an outbox another process still holds. No trio: a command does one
thing, and Ctrl-C ends it wherever it waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bitcasafs.control.changes import ChangeStatus, ContentStatus
from bitcasafs.control.messages import LAST, LINE_BYTES, Ask, Reply, ReplyKind, Request, encode_request, parse_reply
from bitcasafs.control.registry import connect
from bitcasafs.errors import ProtocolError, Refused, TimedOut, Unreachable
from bitcasafs.status import Status

ANSWER_SECONDS = 10.0
"""A mount answers from its event loop, and tells progress twice a second: one that is silent for so long is stuck."""


def replies(socket_path: Path, request: Request, *, timeout_seconds: float = ANSWER_SECONDS) -> Iterator[Reply]:
    """Ask, then yield what comes, the last reply included. Closing the generator ends the request.

    Unreachable: nobody listens, or the mount went away before its last reply. TimedOut: silent for `timeout_seconds`.
    ProtocolError.
    """
    try:
        with contextlib.closing(connect(socket_path, timeout_seconds=timeout_seconds)) as stream:
            stream.sendall(encode_request(request))
            with stream.makefile("rb") as lines:
                for line in iter(lambda: lines.readline(LINE_BYTES + 1), b""):
                    if len(line) > LINE_BYTES:
                        raise ProtocolError("a reply is at most 1 MiB long")
                    reply = parse_reply(line)
                    yield reply
                    if reply.kind in LAST:
                        return
    except TimeoutError:
        raise TimedOut(f"the mount behind {socket_path} does not answer") from None
    except OSError as error:
        raise Unreachable(f"no mount answers at {socket_path}: {error.strerror or error}") from None
    raise Unreachable(f"the mount behind {socket_path} went away")


def ask_status(socket_path: Path, *, brief: bool = False) -> Status:
    """One snapshot. Errors as `replies`; Refused when the mount does not take the request."""
    return _last(replies(socket_path, Request(Ask.DRAIN_STATUS if brief else Ask.STATUS)))


def ask_handover(socket_path: Path) -> Status:
    """Tell a process that only sends still to end; it gives the outbox back within some seconds. Refused: still
    mounted."""
    return _last(replies(socket_path, Request(Ask.HANDOVER)))


def ask_changes(socket_path: Path, request: Request) -> list[ChangeStatus]:
    """What a mount tells of its outbox, or did with it. Errors as `replies`; Refused: it did not, and why."""
    return [change for reply in _told(socket_path, request) for change in reply.changes]


def ask_content(socket_path: Path, number: int) -> ContentStatus:
    """Where the content of a problem lies, with all its ranges. Errors as `ask_changes`."""
    request = Request(Ask.EXPORT, changes=(number,))
    pieces = [reply.content for reply in _told(socket_path, request) if reply.content is not None]
    if not pieces:
        raise ProtocolError("a reply without its content")
    written = [one for piece in pieces for one in piece.written or ()]
    return replace(pieces[0], written=None if pieces[0].written is None else tuple(written))


def _told(socket_path: Path, request: Request) -> Iterator[Reply]:
    for reply in replies(socket_path, request):
        if reply.kind is ReplyKind.REFUSED:
            raise Refused(reply.message)
        yield reply


def _last(stream: Iterator[Reply]) -> Status:
    for reply in stream:
        if reply.kind is ReplyKind.REFUSED:
            raise Refused(reply.message)
        if reply.kind in LAST and reply.status is not None:
            return reply.status
    raise ProtocolError("a reply without its status")
