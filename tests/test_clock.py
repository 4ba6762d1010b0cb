from __future__ import annotations

import time
from pathlib import Path

import pytest

from bitcasafs.clock import Clock, SystemClock, boot_id
from bitcasafs.errors import ConfigError


def test_the_system_clock_tells_the_systems_time() -> None:
    clock: Clock = SystemClock()
    before_ns, before = time.time_ns(), time.monotonic()
    wall_ns, now = clock.wall_ns(), clock.monotonic()
    assert before_ns <= wall_ns <= time.time_ns()
    assert before <= now <= time.monotonic()


def test_the_boot_id_stays_the_same_while_the_kernel_runs() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()


@pytest.mark.parametrize("content", ["", "not a boot id\n", "ünïcode"])
def test_a_boot_id_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    source = tmp_path / "boot_id"
    source.write_text(content)
    with pytest.raises(ConfigError, match="boot id"):
        boot_id(source)
    with pytest.raises(ConfigError, match="boot id"):
        boot_id(tmp_path / "missing")
