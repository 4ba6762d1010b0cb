"""Where a portal is: `https://HOST[:PORT]`, `http://HOST[:PORT]`, or a socket on this machine (`unix:/PATH`)."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bitcasafs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`origin` is scheme and authority, without a slash behind it. `unix_path`: connect there instead."""

    origin: str
    unix_path: str | None = None

    def __str__(self) -> str:
        return self.origin if self.unix_path is None else f"unix:{self.unix_path}"

    @property
    def is_secure(self) -> bool:
        return self.origin.startswith("https://")


def parse_endpoint(text: str, *, allow_http: bool = False) -> Endpoint:
    """ConfigError for anything else; user and password do not belong into an address.

    The login sends the password as it is, so `http://` is for this machine alone unless `allow_http` says otherwise.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ConfigError(f"the path of a socket begins with a slash: {text}")
        return Endpoint("http://localhost", path)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError("the portal's address cannot be read") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the portal's address must not hold a user or password")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"the portal's address is https://HOST[:PORT] or unix:/PATH, not {text}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"the portal's address is a host without a path, not {text}")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ConfigError(
            f"http:// would send the password to {parts.hostname} for everybody on the way to read; use https://, or "
            "-o allow_http where that does no harm"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Endpoint(f"{parts.scheme}://{host}" + (f":{port}" if port is not None else ""))


def _is_loopback(host: str) -> bool:
    """By what the address says: a name other than localhost may lead anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """What a portal's certificate is checked against: the system's authorities, or those of `ca_file` alone.

    There is no way to have it not checked. ConfigError when the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificates in {ca_file} cannot be used: {error}") from error
