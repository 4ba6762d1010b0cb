"""Accounts made from outside of a running server: the command line, and the mount that starts an embedded one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bitcasafs.clock import Clock
from bitcasafs.server.compose import open_metadata
from bitcasafs.server.passwords import hash_password


def add_user(
    data: Path, name: str, password: str, *, email: str = "", quota_bytes: int | None = None, clock: Clock
) -> None:
    """A user with an empty drive; the server may run meanwhile. Exists, NameInvalid (a password too), ConfigError."""
    password_hash = hash_password(password)
    with contextlib.closing(open_metadata(data, clock=clock)) as metadata:
        metadata.add_user(name, password_hash, email=email, quota_bytes=quota_bytes)


def has_user(data: Path, name: str, *, clock: Clock) -> bool:
    """Whether there is such a user. ConfigError."""
    with contextlib.closing(open_metadata(data, clock=clock)) as metadata:
        return metadata.user(name) is not None
