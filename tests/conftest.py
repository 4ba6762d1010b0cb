"""What holds for every test: our own loggers keep silent, and hypothesis has profiles.

A record at WARNING or above of a logger under `bitcasafs` fails the test in which it came, unless the test expects it:
by the marker `@pytest.mark.allow_log("regex")`, or by `expected_logs.allow("regex")`, which also hands out what came.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

# Two shared cores: a deadline would measure the neighbours. `print_blob`: a failure elsewhere can be repeated here.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=1000)
settings.load_profile("quick")


class ExpectedLogs(logging.Handler):
    """Keeps what was logged during one test; `allow` names what is expected."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self._allowed: list[re.Pattern[str]] = []

    def allow(self, regex: str) -> None:
        """Expect records in whose message `regex` is found."""
        self._allowed.append(re.compile(regex))

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def unexpected(self) -> list[str]:
        return [
            f"{record.levelname} {record.name}: {record.getMessage()}"
            for record in self.records
            if not any(regex.search(record.getMessage()) for regex in self._allowed)
        ]


@pytest.fixture(autouse=True)
def expected_logs(request: pytest.FixtureRequest) -> Iterator[ExpectedLogs]:
    logs = ExpectedLogs()
    for marker in request.node.iter_markers("allow_log"):
        for regex in marker.args:
            logs.allow(regex)
    ours = logging.getLogger("bitcasafs")
    ours.addHandler(logs)
    yield logs
    ours.removeHandler(logs)
    unexpected = logs.unexpected()
    if unexpected:
        pytest.fail("unexpected log records:\n" + "\n".join(unexpected), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was captured may name files whose bytes are not UTF-8; a worker can send text only."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report
