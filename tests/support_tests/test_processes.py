from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.support.endpoints import Tcp, Unix, parse_endpoint
from tests.support.processes import NotReady, answers, free_port, has_ended, running, says, usage_of

SLEEPER = "import time; print('ready', flush=True); time.sleep(600)"
BURNER = """
import subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", '''
import time
held = bytearray(50_000_000)
while time.process_time() < 0.5: pass
print("burnt", flush=True)
time.sleep(600)
'''])
time.sleep(600)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_program_is_ready_when_it_says_so_and_ended_after_the_block() -> None:
    with running(python(SLEEPER), ready=says("^ready$")) as process:
        assert process.is_running
    assert process.popen.returncode == -15
    assert process.output() == "ready\n"
    assert process.usage().cpu_seconds >= 0
    with pytest.raises(ProcessLookupError):
        usage_of(process.pid)


def test_a_program_that_ends_before_it_is_ready_is_told_with_its_words() -> None:
    with (
        pytest.raises(NotReady, match=r"(?s)ended with 3.*no such portal"),
        running(python("import sys; print('no such portal'); sys.exit(3)"), ready=says("ready")),
    ):
        pass


def test_a_program_that_stays_silent_is_given_up_and_ended() -> None:
    with (
        pytest.raises(NotReady, match=r"not ready after 0\.1 s"),
        running(python(SLEEPER), ready=says("never"), timeout_seconds=0.1),
    ):
        pass


def test_a_killed_program_is_gone() -> None:
    with running(python(SLEEPER), ready=says("ready")) as process:
        process.kill()
        assert process.popen.returncode == -9


def test_usage_counts_children() -> None:
    with running(python(BURNER), ready=says("burnt")) as process:
        used = process.usage()
        assert used.cpu_seconds >= 0.4
        assert used.peak_rss_bytes > 50_000_000
        family = process.family()
        assert len(family) == 2
        process.kill_family()
    assert all(has_ended(pid) for pid in family)


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_socket_answers_when_somebody_listens(family: str, tmp_path: Path) -> None:
    endpoint = Tcp("127.0.0.1", free_port()) if family == "tcp" else Unix(str(tmp_path / "s"))
    where = (socket.AF_INET, (endpoint.host, endpoint.port)) if isinstance(endpoint, Tcp) else (1, endpoint.path)
    code = f"import socket,time; s=socket.socket({int(where[0])}); s.bind({where[1]!r}); s.listen(); time.sleep(600)"
    with running(python(code), ready=answers(endpoint)) as process:
        assert process.is_running


@pytest.mark.parametrize("endpoint", [Tcp("127.0.0.1", 80), Unix("/run/a b:1")])
def test_endpoints_are_read_as_they_are_written(endpoint: Tcp | Unix) -> None:
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize("text", ["", "80", "host", "host:", "host:http"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        parse_endpoint(text)
