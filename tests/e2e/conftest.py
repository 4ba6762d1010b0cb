"""What most end-to-end tests begin with: a home, and a portal of either kind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounted import Home, home
from tests.support.sites import Site, site


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Home]:
    """Of somebody else with the same drive."""
    with home() as made:
        yield made


@pytest.fixture(scope="module", params=[False, True], ids=["extended", "historical"])
def portal(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One for the tests of a module, so each works in a folder of its own. No faults when a test begins."""
    with (
        tempfile.TemporaryDirectory(prefix="bfs-portal-") as folder,
        site(Path(folder), historical=request.param) as made,
    ):
        yield made
