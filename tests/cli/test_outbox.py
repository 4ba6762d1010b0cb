"""bitcasafs outbox over a real mount whose portal has no room for what is written."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bitcasafs.cli.bitcasafs import main
from bitcasafs.clock import SystemClock
from bitcasafs.server.accounts import add_user
from tests.support.mounted import Home, home, wait_until
from tests.support.server import PASSWORD, USER
from tests.support.sites import Site, site

QUOTA_BYTES = 1000


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Site]:
    """With a drive that is small."""
    add_user(tmp_path / "data", USER, PASSWORD, quota_bytes=QUOTA_BYTES, clock=SystemClock())
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def letter(portal: Site, place: Home) -> str:
    """A mount with `letter`, which does not fit beside `filler`; its number in the outbox."""
    portal.mount(place)
    (place.mountpoint / "filler").write_bytes(b"f" * 800)
    assert place.run("bitcasafs", "sync").returncode == 0
    return refused(place, "letter", b"l" * 500)


def refused(place: Home, name: str, content: bytes) -> str:
    with contextlib.suppress(OSError):
        (place.mountpoint / name).write_bytes(content)
    assert place.run("bitcasafs", "sync").returncode == 64
    [number] = [row[0] for row in listed(place) if row[2] == name]
    return number


def outbox(place: Home, *words: str | Path, code: int = 0) -> str:
    """What it printed; what it complained of when it was to fail."""
    done = place.run("bitcasafs", "outbox", *words)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def listed(place: Home, *words: str) -> list[list[str]]:
    return [line.split("\t") for line in outbox(place, "list", *words).splitlines()]


@contextlib.contextmanager
def on_a_terminal(place: Home, *words: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The command with all its ends on a terminal, and the other side of that."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bitcasafs.cli.bitcasafs", "outbox", *words],
        env=place.environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as command:  # fmt: skip
        os.close(theirs)
        yield ours, command
    os.close(ours)


def said_until(terminal: int, what: str) -> str:
    said = ""
    while what not in said:
        said += os.read(terminal, 4096).decode()
    return said


def rest(terminal: int) -> str:
    said = ""
    with contextlib.suppress(OSError):  # EIO: the command has ended
        while piece := os.read(terminal, 4096):
            said += piece.decode()
    return said


def test_without_a_mount_it_is_said_how_to_have_one(place: Home) -> None:
    assert "mount.bitcasafs" in outbox(place, "list", code=1)
    assert "not in a mounted" in outbox(place, "list", place.mountpoint, code=1)


def test_what_could_not_be_sent_is_listed_for_people_and_for_programs(place: Home, letter: str) -> None:
    [row] = listed(place)
    assert row[:5] == [letter, "problem", "letter", "new file", "500"]
    made, reason = row[5:]
    assert abs((datetime.fromisoformat(made) - datetime.now(UTC)).total_seconds()) < 60
    assert reason
    [document] = json.loads(outbox(place, "list", "--json", place.mountpoint))
    assert (document["id"], document["kind"], document["reason"]) == (int(letter), "content", reason)
    with on_a_terminal(place, "list", "--all") as (terminal, command):
        head, line, *_ = rest(terminal).splitlines()
        assert command.wait(timeout=20) == 0
    assert head.split() == ["ID", "STATE", "PATH", "CHANGE", "SIZE", "SINCE", "REASON"]
    assert re.match(
        rf"{letter} +problem +letter +new file +500 B +\d{{4}}-\d\d-\d\d \d\d:\d\d +{re.escape(reason)}", line
    )
    assert head.index("PATH") == line.index("letter")
    status = place.run("bitcasafs", "status").stdout
    assert f"#{letter} letter: {reason}" in status
    assert "bitcasafs outbox list" in status
    assert place.umount().returncode == 64


def test_what_is_tried_again_when_there_is_room_arrives(portal: Site, place: Home, letter: str) -> None:
    assert "1 change is sent again" in outbox(place, "retry", letter, place.mountpoint)
    assert place.run("bitcasafs", "sync").returncode == 64
    (place.mountpoint / "filler").unlink()
    assert place.run("bitcasafs", "sync").returncode == 64
    outbox(place, "retry", "--all")
    assert place.run("bitcasafs", "sync").returncode == 0
    assert listed(place) == []
    portal.remount(place)
    assert (place.mountpoint / "letter").read_bytes() == b"l" * 500
    assert "nothing waits" in outbox(place, "retry", "--all")
    assert place.umount().returncode == 0


def test_what_was_written_is_copied_out_and_stays(place: Home, letter: str) -> None:
    told = outbox(place, "export", letter, "copy")
    assert (place.folder / "copy").read_bytes() == b"l" * 500
    assert "500 B are in copy" in told
    assert "File exists" in outbox(place, "export", letter, "copy", place.mountpoint, code=2)
    assert len(listed(place)) == 1
    [staged] = place.state.rglob("* letter")
    staged.unlink()
    assert "nothing to export" in outbox(place, "export", letter, "other", code=32)
    assert f"#{letter} letter cannot be sent: its staged file is gone" in outbox(place, "retry", "--all", code=64)
    assert "1 change is discarded" in outbox(place, "discard", "--yes", letter)
    assert place.umount().returncode == 0


def test_to_discard_is_asked_on_a_terminal_and_needs_a_yes(place: Home, letter: str) -> None:
    assert "--yes" in outbox(place, "discard", letter, code=1)
    with on_a_terminal(place, "discard", letter) as (terminal, command):
        asked = said_until(terminal, "[y/N] ")
        assert f"#{letter} letter: new file, 500 B; what was written is lost" in asked
        assert "Discard this change?" in asked
        os.write(terminal, b"\n")
        assert "nothing was discarded" in rest(terminal)
        assert command.wait(timeout=20) == 8
    assert len(listed(place)) == 1
    with on_a_terminal(place, "discard", letter) as (terminal, command):
        said_until(terminal, "[y/N] ")
        os.write(terminal, b"yes\n")
        assert "1 change is discarded" in rest(terminal)
        assert command.wait(timeout=20) == 0
    assert listed(place) == []
    assert "no change" in outbox(place, "discard", letter, "--yes", place.mountpoint, code=32)
    done = place.umount()
    assert (done.returncode, done.stderr) == (0, "")


def test_new_content_that_is_discarded_shows_the_old_again(place: Home, letter: str) -> None:
    assert letter
    number = refused(place, "filler", b"F" * 1500)
    outbox(place, "discard", "--yes", number, letter)
    wait_until(lambda: (place.mountpoint / "filler").stat().st_size == 800, "the kernel asks for attributes again")
    assert (place.mountpoint / "filler").read_bytes() == b"f" * 800
    assert place.umount().returncode == 0


def test_with_several_mounts_it_must_be_said_which(portal: Site, place: Home, letter: str) -> None:
    second = place.folder / "second"
    second.mkdir()
    done = place.run("mount", second)
    assert done.returncode == 0, done.stderr
    try:
        complaint = outbox(place, "retry", letter, code=1)
        assert "several drives are mounted" in complaint
        assert str(second) in complaint
        assert str(place.mountpoint) in complaint
        assert outbox(place, "list", second) == ""
        assert "1 change is sent again" in outbox(place, "retry", letter, place.mountpoint)
    finally:
        assert place.run("umount", second).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["retry"], "say which changes"),
        (["retry", "7", "--all"], "say which changes"),
        (["discard", "/mnt"], "say which changes"),
        (["discard", "seven", "8", "--yes"], "seven is no number"),
        (["export", "seven", "x"], "--help"),
    ],
)
def test_what_cannot_be_understood_is_said(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    try:
        code: object = main(["outbox", *words])
    except SystemExit as error:
        code = error.code
    assert code == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "retry", "export", "discard"])
def test_every_command_tells_what_it_takes(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit):
        main(["outbox", command, "--help"])
    assert "[MOUNTPOINT]" in capsys.readouterr().out
