"""The guard over log records, seen at work in a run of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

SAMPLE = """
import logging
import pytest

def test_silent(): pass

def test_says_at_info(): logging.getLogger("bitcasafs.x").info("fine")

def test_warns(): logging.getLogger("bitcasafs.x").warning("surprise %s", 7)

@pytest.mark.allow_log("surprise .")
def test_warns_as_marked(): logging.getLogger("bitcasafs.x").warning("surprise %s", 7)

@pytest.mark.allow_log("another")
def test_warns_of_something_else(): logging.getLogger("bitcasafs.x").error("surprise")

def test_warns_as_told(expected_logs):
    expected_logs.allow("surprise")
    logging.getLogger("bitcasafs").warning("surprise")
    assert [record.levelname for record in expected_logs.records] == ["WARNING"]

def test_strangers_may_warn(): logging.getLogger("stranger").warning("surprise")
"""


def test_an_unexpected_warning_of_ours_fails_its_test_and_no_other(tmp_path: Path) -> None:
    shutil.copy(HERE / "conftest.py", tmp_path)
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    allow_log(regex): expected\n")

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rE", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1
    failed = {line.split("::")[1].split(" ")[0] for line in ran.stdout.splitlines() if line.startswith("ERROR test_")}
    assert failed == {"test_warns", "test_warns_of_something_else"}, ran.stdout
    assert "WARNING bitcasafs.x: surprise 7" in ran.stdout
    assert "7 passed, 2 errors" in ran.stdout
