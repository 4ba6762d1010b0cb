"""How errors reach a person, and the code that the caller gets."""

from __future__ import annotations

import io

import pytest

from bitcasafs.cli.exits import Exit
from bitcasafs.cli.progress import Progress, describe
from bitcasafs.cli.speaking import guarded
from bitcasafs.errors import ConfigError, Locked, LoginRefused, Unreachable
from bitcasafs.status import Status, UploadStatus


def raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigError("mnt is not empty"), Exit.USAGE, "mnt is not empty"),
        (Locked("in use by process 7"), Exit.FAILED, "in use by process 7"),
        (LoginRefused("wrong password"), Exit.FAILED, "wrong password"),
        (Unreachable("no route"), Exit.FAILED, "no route"),
        (PermissionError(13, "Permission denied", "/srv"), Exit.SYSTEM, "/srv: Permission denied"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted"),
        (KeyError("x"), Exit.INTERNAL, "an internal error"),
    ],
)
def test_an_error_is_one_line_and_mounts_exit_code(
    error: BaseException, code: Exit, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded("mount.bitcasafs", lambda: raising(error)) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("mount.bitcasafs: ")
    assert says in told.err
    assert len(told.err.splitlines()) == 1


def test_with_debug_the_traceback_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    guarded("mount.bitcasafs", lambda: raising(ValueError("x")), debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_what_goes_well_answers_its_own_code() -> None:
    assert guarded("mount.bitcasafs", lambda: 64) == 64


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


STATUS = Status(
    1, "/mnt", "portal", "1", pending=3, sending=(UploadStatus("/a", 1 << 20, 4 << 20), UploadStatus("/b", 0, 4 << 20))
)


def test_progress_is_one_line_rewritten_in_place() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show(STATUS)
    progress.show(STATUS)
    progress.clear()
    assert terminal.getvalue().count("3 changes to send, 2 files on their way: 1.00 MiB of 8.00 MiB") == 1
    assert "\n" not in terminal.getvalue()


def test_where_nobody_looks_nothing_is_written() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.show(STATUS)
    progress.clear()
    assert stream.getvalue() == ""


def test_what_keeps_the_changes_is_told() -> None:
    status = Status(1, "/mnt", "portal", "1", pending=1, last_error="no connection")
    assert describe(status) == "1 change to send: no connection"
