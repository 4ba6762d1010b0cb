"""One real server a module for tests that do not mind what others left in it; each uses names of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.portal_session import Drive
from tests.support.server import RunningServer, serving

USERS = ("ann", "bob")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("server"), users=USERS) as running:
        yield running


@pytest.fixture
def drive(server: RunningServer) -> Iterator[Drive]:
    with Drive.of(server) as opened:
        yield opened
