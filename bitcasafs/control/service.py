"""The socket that a mount listens on: answers what `messages` describes, to its own user alone.

Who uses: `mount.run` starts it. It changes nothing in the mount; what an ask means is done by the `Drive` it was given.
One task a connection; a client that goes away ends its own wait and nothing else. Not more than 64 connections at once:
further ones wait in the listen queue.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from bitcasafs.control.messages import (
    LINE_BYTES,
    Ask,
    Reply,
    ReplyKind,
    encode_reply,
    parse_request,
)
from bitcasafs.control.registry import short_path
from bitcasafs.errors import BitcasaError, ProtocolError
from bitcasafs.status import Status

_log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.5
_REQUEST_SECONDS = 10.0
_REQUEST_BYTES = 4096
_CONNECTIONS = 64
_BRIEF_PROBLEMS = 20
_QUIET_SECONDS = 0.02
_CREDENTIALS = struct.Struct("3i")


class Drive(Protocol):
    """What the service asks of the mount it belongs to."""

    def status(self) -> Status:
        """A snapshot, at once."""
        ...

    async def drained(self, until: int) -> None:
        """Return when no change up to number `until` can still be sent."""
        ...

    async def ended(self) -> None:
        """Return when the kernel has let go, and nothing is left to send or sending was given up."""
        ...

    def hand_over(self) -> None:
        """Begin to end, so that the outbox is free in some seconds. BitcasaError: still mounted."""
        ...


class ControlService:
    """`path` is replaced if it is there: the caller has made sure that no other process serves this mountpoint."""

    def __init__(self, path: Path, drive: Drive) -> None:
        self._path = path
        self._drive = drive
        self._limiter = trio.CapacityLimiter(_CONNECTIONS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started: connections are accepted. OSError when the socket cannot be made."""
        listener = trio.SocketListener(_listening(self._path))
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(trio.serve_listeners, self._serve, [listener])
                task_status.started()
        finally:
            with contextlib.suppress(OSError):
                self._path.unlink()

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection. Whatever goes wrong with it stays with it."""
        async with stream, self._limiter:
            try:
                if _peer_uid(stream) in (os.geteuid(), 0):
                    await self._answer(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                _log.debug("A control connection went away")
            except* Exception:  # noqa: BLE001 - one client must not end the others
                _log.exception("A control request failed")

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            with trio.fail_after(_REQUEST_SECONDS):
                request = parse_request(await _read_line(stream))
        except (ProtocolError, trio.TooSlowError) as error:
            await _send(stream, Reply(ReplyKind.REFUSED, message=str(error) or "no request came"))
            return
        match request.ask:
            case Ask.STATUS:
                await _send(stream, Reply(ReplyKind.STATUS, self._drive.status()))
            case Ask.DRAIN_STATUS:
                await _send(stream, Reply(ReplyKind.STATUS, _brief(self._drive.status())))
            case Ask.HANDOVER:
                await _send(stream, self._hand_over())
            case Ask.SYNC:
                until = self._drive.status().newest_change if request.until is None else request.until
                await _tell_until(stream, self._drive, partial(self._drive.drained, until))
            case Ask.END:
                await _tell_until(stream, self._drive, self._drive.ended)

    def _hand_over(self) -> Reply:
        try:
            self._drive.hand_over()
        except BitcasaError as error:
            return Reply(ReplyKind.REFUSED, message=str(error))
        return Reply(ReplyKind.DONE, _brief(self._drive.status()))

    async def quiet(self) -> None:
        """Return when every connection has had its last reply."""
        while self._limiter.borrowed_tokens:  # noqa: ASYNC110 - once a mount, for some milliseconds
            await trio.sleep(_QUIET_SECONDS)


async def _tell_until(stream: trio.SocketStream, drive: Drive, event: Callable[[], Awaitable[None]]) -> None:
    """Progress until `event` returns, then the last reply. Ends as well when the client goes away."""
    finished = trio.Event()

    async def wait() -> None:
        await event()
        finished.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(_cancel_at_end, stream, nursery.cancel_scope)
        while not finished.is_set():
            await _send(stream, Reply(ReplyKind.PROGRESS, _brief(drive.status())))
            with trio.move_on_after(PROGRESS_SECONDS):
                await finished.wait()
        await _send(stream, Reply(ReplyKind.DONE, _brief(drive.status())))
        nursery.cancel_scope.cancel()


def _listening(path: Path) -> trio.socket.SocketType:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with short_path(path) as reachable:
            listener.bind(reachable)
        listener.listen(_CONNECTIONS)
        return trio.socket.from_stdlib_socket(listener)
    except BaseException:
        listener.close()
        raise


def _peer_uid(stream: trio.SocketStream) -> int:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid


async def _read_line(stream: trio.SocketStream) -> bytes:
    """ProtocolError when the line does not end within 4 KiB."""
    line = b""
    while not line.endswith(b"\n"):
        piece = await stream.receive_some(_REQUEST_BYTES)
        line += piece
        if not piece or len(line) > _REQUEST_BYTES:
            raise ProtocolError("a request is one short line", line[:80])
    return line


async def _send(stream: trio.SocketStream, reply: Reply) -> None:
    line = encode_reply(reply)
    if len(line) > LINE_BYTES and reply.status is not None:
        line = encode_reply(Reply(reply.kind, _brief(reply.status), reply.message))
    await stream.send_all(line)


async def _cancel_at_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """The client says nothing after its request: what comes next is its end."""
    await stream.receive_some(1)
    scope.cancel()


def _brief(status: Status) -> Status:
    """Counts stay, the lists are cut: ten thousand refused files are not sent twice a second."""
    return replace(status, problems=status.problems[:_BRIEF_PROBLEMS], notices=())
