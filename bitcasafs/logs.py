"""Where log records go, and what never gets there.

Who uses: the command line calls `configure` once a process; everybody else asks `logging.getLogger(__name__)`.

Secrets are kept out twice: by type (`Secret` shows as `***` however it is printed) and by text (every handler's
formatter replaces the secrets it was told of, and what looks like one, in messages and tracebacks alike).
"""

from __future__ import annotations

import hmac
import logging
import logging.handlers
import os
import re
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO, cast

from bitcasafs.atomic import make_private_folder

HIDDEN = "***"

_SHORTEST_HIDDEN = 6
"""Replacing shorter texts would turn every other word of a log into stars."""

_LOOKS_SECRET = re.compile(
    r"""(?ix) \b
    (?: ( (?:authorization|(?:set-)?cookie) ['"]? \s* [=:] \s* ['"]? ) [^'"\n]+  # the whole header
      | ( (?:password|passwd|sessionid|csrf_token) ['"]? \s* [=:] \s* ) (?: '[^'\n]*' | "[^"\n]*" | [^\s'",;&]+ ) )"""
)

_TOO_TALKATIVE = ("httpx", "httpcore", "hpack", "h2", "uvicorn.access")
"""They print each request's line at INFO and its headers, session cookie among them, at DEBUG."""

_JOURNAL = "/run/systemd/journal/socket"
_JOURNAL_BYTES = 32 * 1024
"""A longer datagram may not fit the socket's buffer, and journald would want it through a file."""


class Secret:
    """A text that is shown to nobody by accident. `reveal` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not copied, pickled or sent")


class RedactingFormatter(logging.Formatter):
    """Formats as usual, then takes out `secrets` and whatever looks like one, traceback included."""

    def __init__(self, secrets: Iterable[Secret] = (), fmt: str | None = None) -> None:
        super().__init__(fmt)
        self._secrets = tuple(secret for secret in secrets if len(secret.reveal()) >= _SHORTEST_HIDDEN)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret.reveal(), HIDDEN)
        return _LOOKS_SECRET.sub(lambda match: (match[1] or match[2]) + HIDDEN, text)


@dataclass(frozen=True, slots=True)
class Foreground:
    """Lines on standard error."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of this user's alone; at `size_bytes` it becomes `path.1`, and so on up to `kept`."""

    path: Path
    size_bytes: int = 5 * 1024 * 1024
    kept: int = 3


@dataclass(frozen=True, slots=True)
class Journal:
    """systemd's journal, under `identifier`."""

    identifier: str
    address: str = _JOURNAL


Destination = Foreground | LogFile | Journal


def configure(destination: Destination, *, level: int = logging.INFO, secrets: Iterable[Secret] = ()) -> None:
    """Send all records of this process from `level` up to `destination`, and no longer to an earlier one.

    OSError or ConfigError when a log file cannot be opened, or there is no journal.
    """
    handler = _handler(destination)
    line = "%(name)s: %(message)s" if isinstance(destination, Journal) else _LINE
    handler.setFormatter(RedactingFormatter(secrets, line))
    root = logging.getLogger()
    for old in tuple(root.handlers):
        if isinstance(old.formatter, RedactingFormatter):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def _handler(destination: Destination) -> logging.Handler:
    match destination:
        case Foreground():
            return logging.StreamHandler(cast(TextIO, sys.stderr))
        case LogFile():
            if not destination.path.parent.exists():
                make_private_folder(destination.path.parent)
            return _PrivateFileHandler(destination)
        case Journal():
            return _JournalHandler(destination)


class _PrivateFileHandler(logging.handlers.RotatingFileHandler):
    """Rotated by size; each file is made 0600, whatever the umask."""

    def __init__(self, file: LogFile) -> None:
        super().__init__(
            file.path, maxBytes=file.size_bytes, backupCount=file.kept, encoding="utf-8", errors="backslashreplace"
        )

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding=self.encoding, errors=self.errors)


class _JournalHandler(logging.Handler):
    """One datagram a record in the journal's native form. Never waits: a record that does not fit now is dropped."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._identifier = journal.identifier
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        try:
            self._socket.connect(journal.address)
        except BaseException:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record).encode("utf-8", "backslashreplace")[:_JOURNAL_BYTES]
            fields = f"PRIORITY={_priority(record.levelno)}\nSYSLOG_IDENTIFIER={self._identifier}\n"
            # A value with line breaks needs the form with a length, so that no message can forge a field.
            framed = b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n"
            self._socket.send(fields.encode() + framed)
        except BlockingIOError:
            return
        except Exception:  # noqa: BLE001 - logging's own rule: a record that fails is reported, never raised
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _priority(level: int) -> int:
    """syslog's number."""
    for least, priority in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)):
        if level >= least:
            return priority
    return 7
