"""The one place where a remote is put together: adapter and wrappers, from the inside out.

    portal (or memory) < limit < retry < deadline < timing

Limits stand inside the retry, so that who waits before a repeat holds no place; timing stands outside, so that it
counts what callers see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bitcasafs.logs import Secret
from bitcasafs.remote.deadline import DeadlineRemote
from bitcasafs.remote.interface import Remote
from bitcasafs.remote.limit import LimitRemote, Limits
from bitcasafs.remote.portal.client import PortalRemote
from bitcasafs.remote.portal.endpoint import parse_endpoint, tls_context
from bitcasafs.remote.portal.transport import Timeouts, Transport
from bitcasafs.remote.retry import RetryPolicy, RetryRemote
from bitcasafs.remote.timing import TimingRemote


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """`portal`: `https://HOST[:PORT]`, `http://HOST[:PORT]` or `unix:/PATH`. `password` is asked at each login.

    `ca_file`: trust the authorities in it instead of the system's. `allow_http`: also on other machines.
    """

    portal: str
    user: str
    password: Callable[[], Secret]
    ca_file: Path | None = None
    allow_http: bool = False
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    deadline_seconds: float | None = None
    """What somebody waits for fails after so long, repeats included (see `remote.deadline`); None: no such end."""


def open_remote(config: RemoteConfig) -> TimingRemote:
    """Nothing is sent before the first call. ConfigError: the address or `ca_file` cannot be used."""
    endpoint = parse_endpoint(config.portal, allow_http=config.allow_http)
    transport = Transport(
        endpoint,
        timeouts=config.timeouts,
        connections=config.limits.connections,
        context=tls_context(config.ca_file),
    )
    adapter = PortalRemote(transport, config.user, config.password)
    return wrap(adapter, config.limits, config.retry, deadline_seconds=config.deadline_seconds)


def wrap(adapter: Remote, limits: Limits, retry: RetryPolicy, *, deadline_seconds: float | None = None) -> TimingRemote:
    """The wrappers alone, around any adapter."""
    repeated = RetryRemote(LimitRemote(adapter, limits), retry)
    return TimingRemote(repeated if deadline_seconds is None else DeadlineRemote(repeated, deadline_seconds))
