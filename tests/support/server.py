"""A real portal server in a process of its own, over a data folder, with a user: for whoever needs one on the wire.

with serving(tmp_path) as server:
    httpx.get(server.url + "/login")
"""

from __future__ import annotations

import contextlib
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitcasafs.clock import SystemClock
from bitcasafs.server.accounts import add_user, has_user
from tests.support.endpoints import Endpoint, Tcp, Unix, parse_endpoint
from tests.support.processes import Process, running, says

USER = "ann"
PASSWORD = "correct horse battery"

_READY = r"^listening on (?P<addresses>.+)$"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """`endpoint` is where it listens (TCP unless asked otherwise); `user` and `password` can log in. `url` has no
    trailing slash; through a unix socket a client needs `socket_path` besides."""

    process: Process
    data: Path
    endpoint: Endpoint
    url: str
    user: str = USER
    password: str = PASSWORD

    @property
    def socket_path(self) -> str | None:
        return self.endpoint.path if isinstance(self.endpoint, Unix) else None


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    unix: bool = False,
    options: Sequence[str] = (),
    users: Sequence[str] = (USER,),
    listen: Endpoint | None = None,
) -> Iterator[RunningServer]:
    """`bitcasafs serve` over `folder/data`, ready inside the block and stopped after it. Each of `users` has PASSWORD;
    those that are there stay as they are, so that a second server can go on with the same folder. `options` are added
    to the command line; `listen` is for a port or socket that must be a certain one."""
    data = folder / "data"
    clock = SystemClock()
    for name in users:
        if not has_user(data, name, clock=clock):
            add_user(data, name, PASSWORD, clock=clock)
    if listen is None:
        listen = Unix(str(folder / f"s{secrets.token_hex(4)}")) if unix else Tcp("127.0.0.1", 0)
    address = f"unix:{listen.path}" if isinstance(listen, Unix) else str(listen)
    argv = [
        sys.executable,
        "-m",
        "bitcasafs.cli.bitcasafs",
        "serve",
        "--data",
        str(data),
        "--listen",
        address,
        *options,
    ]
    with running(argv, ready=says(_READY)) as process:
        found = re.search(_READY, process.output(), re.MULTILINE)
        assert found is not None, "it was ready"
        first = found["addresses"].split()[0]
        if first.startswith("unix:"):
            endpoint = parse_endpoint(first)
            yield RunningServer(process, data, endpoint, endpoint.url)
        else:
            yield RunningServer(process, data, parse_endpoint(first.partition("//")[2]), first)
