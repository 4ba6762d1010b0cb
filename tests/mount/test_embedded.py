"""The server of a drive on this machine: started once, joined, and explained when it does not start."""

from __future__ import annotations

import contextlib
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitcasafs.control.registry import connect
from bitcasafs.errors import ConfigError
from bitcasafs.mount.embedded import EmbeddedServer
from tests.support.mounted import Home, end_process, home


@pytest.fixture
def place() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture
def server(place: Home) -> Iterator[EmbeddedServer]:
    with contextlib.closing(EmbeddedServer(place.drive)) as made:
        yield made


def test_the_password_is_made_once_and_kept_for_this_user_alone(place: Home) -> None:
    first = EmbeddedServer(place.drive).password()
    assert len(first.reveal()) >= 32
    assert EmbeddedServer(place.drive).password() == first
    assert stat.S_IMODE((place.drive / "mount-password").stat().st_mode) == 0o600


def test_a_second_start_joins_the_first(place: Home, server: EmbeddedServer) -> None:
    server.start_or_join()
    pid = place.server_pid()
    assert pid is not None
    EmbeddedServer(place.drive).start_or_join()
    assert place.server_pid() == pid
    with connect(server.lease_socket, timeout_seconds=5), connect(server.portal_socket, timeout_seconds=5):
        pass
    assert stat.S_IMODE(server.portal_socket.parent.stat().st_mode) == 0o700


def test_a_first_start_that_was_cut_after_the_user_was_made_is_repeated(place: Home, server: EmbeddedServer) -> None:
    server.start_or_join()
    pid = place.server_pid()
    assert pid is not None
    end_process(pid, signal.SIGTERM)
    (place.drive / "mount-user").unlink()
    server.start_or_join()
    assert place.server_pid() not in (None, pid)


def test_a_server_that_does_not_start_is_explained_by_its_log(place: Home, server: EmbeddedServer) -> None:
    server.start_or_join()
    pid = place.server_pid()
    # The sockets are gone, the server is not: a second one finds the drive locked.
    server.portal_socket.unlink()
    with (
        contextlib.closing(EmbeddedServer(place.drive)) as second,
        pytest.raises(ConfigError, match=f"(?s)does not start.*{pid}"),
    ):
        second.start_or_join()


def test_a_drive_whose_path_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        EmbeddedServer(tmp_path / ("x" * 100))
