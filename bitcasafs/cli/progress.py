"""One line of progress on a terminal, rewritten in place; silence where nobody looks."""

from __future__ import annotations

import shutil
from typing import TextIO

from bitcasafs.status import Status
from bitcasafs.units import format_size


class Progress:
    """`show` as often as one likes; `clear` before anything else is printed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._shown = ""

    def show(self, status: Status) -> None:
        text = describe(status)
        if self._terminal and text != self._shown:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:width]}", end="", file=self._stream, flush=True)
            self._shown = text

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._shown = ""


def describe(status: Status) -> str:
    """`3 changes to send, 2 files on their way: 12.0 MiB of 80.0 MiB, 1.20 MiB/s, about 1m left`; what keeps them when
    nothing is on its way.
    """
    text = f"{status.pending} change{'' if status.pending == 1 else 's'} to send"
    if status.sending:
        files = f"{len(status.sending)} file{'' if len(status.sending) == 1 else 's'}"
        sent, size = sum(one.sent_bytes for one in status.sending), sum(one.size_bytes for one in status.sending)
        amount = f"{format_size(sent)} of {format_size(size)}"
        return f"{text}, {files} on their way: {', '.join(part for part in (amount, status.speed_text()) if part)}"
    return f"{text}: {status.last_error}" if status.pending and status.last_error else text
