"""The contract of `Remote` on each implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from bitcasafs.backoff import Backoff
from bitcasafs.remote.interface import Remote
from bitcasafs.remote.limit import Limits
from bitcasafs.remote.memory import MemoryDrive, MemoryRemote
from bitcasafs.remote.open import wrap
from bitcasafs.remote.retry import RetryPolicy
from tests.contracts.remote_contract import RemoteContract
from tests.support.portals import portal_remote
from tests.support.server import RunningServer, serving

QUICK = RetryPolicy(Backoff(base_seconds=0.01, cap_seconds=0.1, attempts=None), budget_seconds=5)


class TestMemory(RemoteContract):
    @pytest.fixture
    async def remote(self) -> Remote:
        return MemoryRemote(MemoryDrive(mirrors=("Camera",)))


class TestHistoricalMemory(RemoteContract):
    @pytest.fixture
    async def remote(self) -> Remote:
        return MemoryRemote(MemoryDrive(), historical=True)


class TestMemoryInWrappers(RemoteContract):
    @pytest.fixture
    async def remote(self) -> Remote:
        return wrap(MemoryRemote(MemoryDrive()), Limits(), QUICK)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("portal")) as started:
        yield started


@pytest.fixture(scope="module")
def server_on_a_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("socket"), unix=True) as started:
        yield started


@pytest.fixture(scope="module")
def historical_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("historical"), options=("--historical",)) as started:
        yield started


class TestPortal(RemoteContract):
    @pytest.fixture
    async def remote(self, server: RunningServer) -> AsyncIterator[Remote]:
        async with portal_remote(server) as remote:
            yield remote


class TestPortalInWrappers(RemoteContract):
    """As a mount has it, over a socket."""

    @pytest.fixture
    async def remote(self, server_on_a_socket: RunningServer) -> AsyncIterator[Remote]:
        async with portal_remote(server_on_a_socket) as remote:
            yield wrap(remote, Limits(), QUICK)


class TestHistoricalPortal(RemoteContract):
    @pytest.fixture
    async def remote(self, historical_server: RunningServer) -> AsyncIterator[Remote]:
        async with portal_remote(historical_server) as remote:
            yield remote


class TestHistoricalPortalInWrappers(RemoteContract):
    @pytest.fixture
    async def remote(self, historical_server: RunningServer) -> AsyncIterator[Remote]:
        async with portal_remote(historical_server) as remote:
            yield wrap(remote, Limits(), QUICK)
