"""Going into the background: the command returns when the mount works, with the mount's exit code; its process stays.

Who uses: `cli.mount`. The fork comes before any thread, before trio and before FUSE: none of them survives one. The
child reports through a pipe; when it dies without a word, the command says so and where the log is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the start went: an exit code of mount(8), and what to tell the person when it is not 0."""

    exit_code: int
    message: str = ""


Report = Callable[[Outcome], None]
"""Called at most once with effect: when the mount works, or has failed."""

_MESSAGE_BYTES = 64 * 1024


def run_in_background(body: Callable[[Report], int], *, died: Outcome, interrupted: Outcome) -> Outcome:
    """Run `body` in a process of its own session; return what it reports, `died` when it ends without a report.

    `body` returns the process's exit code; what it raises ends the process with that of `died`. On Ctrl-C before the
    report the process is told to end (SIGTERM) and `interrupted` returned.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(body, writing, died.exit_code)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            said = pipe.read(_MESSAGE_BYTES)
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return interrupted
    if not said:
        os.waitpid(pid, 0)
        return died
    document = json.loads(said)
    return Outcome(int(document["exit_code"]), str(document["message"]))


def _child(body: Callable[[Report], int], pipe: int, died_code: int) -> None:
    """Never returns: what the command would do after the fork is the parent's."""
    code = died_code
    try:
        os.setsid()
        os.chdir("/")
        _redirect(0)
        code = body(_Reporter(pipe))
    except KeyboardInterrupt:
        pass
    except BaseException as error:  # noqa: BLE001 - a traceback would go to the terminal of somebody who has left
        with contextlib.suppress(Exception):
            _Reporter(pipe)(Outcome(died_code, f"the mount process failed: {error}"))
    finally:
        os._exit(code)


class _Reporter:
    """Until the report standard error is the command's, so that libfuse can say why a mount fails; then nobody's."""

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def __call__(self, outcome: Outcome) -> None:
        if self._pipe is None:
            return
        pipe, self._pipe = self._pipe, None
        _redirect(1, 2)
        message = json.dumps({"exit_code": outcome.exit_code, "message": outcome.message}).encode()
        with contextlib.suppress(OSError):  # the command was killed: the mount is none the worse
            os.write(pipe, message)
        os.close(pipe)


def _redirect(*descriptors: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
