"""Real servers for the tests of the portal adapter, one of each kind for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer, serving


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("portal")) as started:
        yield started


@pytest.fixture(scope="package")
def historical_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("historical"), options=("--historical",)) as started:
        yield started
