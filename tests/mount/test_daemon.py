"""Going into the background: what the command answers, and what becomes of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.mounted import wait_until
from tests.support.processes import ROOT, has_ended


def command(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program that goes into the background with `body`; it prints the outcome."""
    program = f"""
import os, sys, time
from bitcasafs.mount.daemon import Outcome, run_in_background

def body(report):
    with open({str(folder / "pid")!r}, "w") as file:
        file.write(str(os.getpid()))
{textwrap.indent(textwrap.dedent(body), "    ")}

print(run_in_background(body, died=Outcome(32, "died"), interrupted=Outcome(8, "interrupted")))
"""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def pid_of(folder: Path) -> int:
    return int((folder / "pid").read_text())


def test_the_command_returns_when_the_mount_works_and_its_process_stays(tmp_path: Path) -> None:
    done = command("report(Outcome(0)); time.sleep(60); return 0", tmp_path)
    assert done.stdout.strip() == "Outcome(exit_code=0, message='')"
    pid = pid_of(tmp_path)
    assert not has_ended(pid)
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: has_ended(pid), "the process has ended")


def test_a_failure_is_told_with_its_code(tmp_path: Path) -> None:
    done = command("report(Outcome(1, 'no such folder: \\u2603')); return 1", tmp_path)
    assert done.stdout.strip() == "Outcome(exit_code=1, message='no such folder: \u2603')"


def test_only_the_first_report_counts(tmp_path: Path) -> None:
    done = command("report(Outcome(0)); report(Outcome(32, 'late')); return 0", tmp_path)
    assert done.stdout.strip() == "Outcome(exit_code=0, message='')"


def test_a_process_that_dies_without_a_word_is_told_as_that(tmp_path: Path) -> None:
    for body in ("os._exit(3)", "os.kill(os.getpid(), 9)", "return 0"):
        assert command(body, tmp_path).stdout.strip() == "Outcome(exit_code=32, message='died')"


def test_what_a_process_raises_is_told_without_a_traceback(tmp_path: Path) -> None:
    done = command("raise ValueError('a bug')", tmp_path)
    assert done.stdout.strip() == "Outcome(exit_code=32, message='the mount process failed: a bug')"
    assert "Traceback" not in done.stderr


def test_until_the_report_standard_error_is_the_commands(tmp_path: Path) -> None:
    done = command(
        "os.write(2, b'fusermount3: says why\\n'); report(Outcome(32, 'x')); os.write(2, b'later'); return 32", tmp_path
    )
    assert done.stderr == "fusermount3: says why\n"
