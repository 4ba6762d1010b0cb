"""What a server is told once, at its start: where its data is, where it listens, what it offers.

Who makes: the command line and the mount that starts an embedded server. Who uses: `compose` and `serve`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitcasafs.dialects.discovery import BatchLimits
from bitcasafs.errors import ConfigError

DEFAULT_LINGER_SECONDS = 60.0
FILE_LIMIT_BYTES = 2**40
"""1 TiB: beyond what one request without resuming can sensibly carry."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Port 0: any free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: Path


Listen = TcpAddress | UnixAddress


def parse_listen(text: str) -> Listen:
    """`HOST:PORT`, `[HOST]:PORT` (IPv6) or `unix:PATH`. ConfigError."""
    if text.startswith("unix:"):
        path = Path(text.removeprefix("unix:"))
        if not path.is_absolute() or not path.name:
            raise ConfigError(f"{text!r}: a unix socket needs an absolute path")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"{text!r} is neither HOST:PORT nor unix:PATH")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"{text!r}: write an IPv6 address in brackets, as [::1]:8080")
    return TcpAddress(host, int(port))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may bring. A batch's content streams to the disk, so it may be as large as a file."""

    file_bytes: int = FILE_LIMIT_BYTES
    form_bytes: int = 1024 * 1024
    """A selection of some thousand paths."""
    silence_seconds: float = 60.0
    """A body that brings nothing for so long is given up."""
    batch: BatchLimits = BatchLimits(operations=1000, bytes=FILE_LIMIT_BYTES, content=FILE_LIMIT_BYTES)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`historical`: part 1 of the protocol alone. `keep_session_id`: for the one old client that reads its session
    off the login page and never looks again (protocol 1.2); open to session fixation. `lease_linger_seconds`: None,
    or the server is embedded and ends that long after the last mount let go of its lease."""

    data: Path
    listen: tuple[Listen, ...]
    tls_cert: Path | None = None
    tls_key: Path | None = None
    historical: bool = False
    keep_session_id: bool = False
    lease_linger_seconds: float | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not self.listen:
            raise ConfigError("the server needs an address to listen on: --listen HOST:PORT or unix:PATH")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key go together")
        if self.lease_linger_seconds is not None and self.lease_folder is None:
            raise ConfigError("an embedded server needs a unix socket: --listen unix:PATH")

    @property
    def is_secure(self) -> bool:
        return self.tls_cert is not None

    @property
    def lease_folder(self) -> Path | None:
        """Of the first unix socket: the lease's socket is beside it."""
        return next((address.path.parent for address in self.listen if isinstance(address, UnixAddress)), None)
