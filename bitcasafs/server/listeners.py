"""Listening sockets, made before anything is served, so that an address in use is known at once."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from bitcasafs.errors import ConfigError
from bitcasafs.server.config import Listen, TcpAddress, UnixAddress

BACKLOG = 1024
_ADDRESS_BYTES = 107


@contextlib.contextmanager
def listening(addresses: Sequence[Listen]) -> Iterator[list[socket.socket]]:
    """Sockets in the order of the addresses; closed at the end, and the files of unix ones removed. ConfigError."""
    with contextlib.ExitStack() as stack:
        opened = []
        for address in addresses:
            try:
                if isinstance(address, TcpAddress):
                    bound = _open_tcp(address)
                else:
                    bound = _open_unix(address)
                    stack.callback(_remove, address)
            except OSError as error:
                raise ConfigError(f"cannot listen on {shown(address)}: {error.strerror}") from error
            stack.callback(bound.close)
            opened.append(bound)
        yield opened


def shown(address: Listen, bound: socket.socket | None = None, *, is_secure: bool = False) -> str:
    """For a person, and for those who start us and read it: a URL, or `unix:PATH`. With the port that `bound` got."""
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = bound.getsockname()[1] if bound is not None else address.port
    return f"{'https' if is_secure else 'http'}://{host}:{port}"


def _open_tcp(address: TcpAddress) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"cannot listen on {shown(address)}: {error.strerror}") from error
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(where)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _open_unix(address: UnixAddress) -> socket.socket:
    """For this user alone (0600). The socket of a server that is gone is replaced, one that answers is not."""
    _remove_stale(address)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file's permissions come from the umask at bind: a chmod afterwards would leave a gap.
        before = os.umask(0o177)
        try:
            with _fitting(address.path) as path:
                opened.bind(path)
        finally:
            os.umask(before)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _remove_stale(address: UnixAddress) -> None:
    try:
        found = address.path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"cannot listen on {address.path}: something else than a socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            with _fitting(address.path) as path:
                probe.connect(path)
        except ConnectionRefusedError:
            _remove(address)
            return
        except FileNotFoundError:
            return
    raise ConfigError(f"cannot listen on {address.path}: another server does")


@contextlib.contextmanager
def _fitting(path: Path) -> Iterator[str]:
    """A path that fits a socket's address (107 bytes), however deep its folder is."""
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _remove(address: UnixAddress) -> None:
    address.path.unlink(missing_ok=True)
