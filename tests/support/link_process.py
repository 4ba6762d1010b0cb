"""The link emulator in a process of its own, for benches and synchronous tests: `with LinkProcess(upstream) as link`.

One line of JSON in on stdin, one out on stdout; the process ends with its stdin, so it cannot outlive us.
Run by itself: `python -m tests.support.link_process UPSTREAM [LISTEN]`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import trio

from tests.support.endpoints import LOOPBACK, Endpoint, parse_endpoint
from tests.support.link import Cut, Link, LinkStatistics
from tests.support.link_profile import LOOP, LinkProfile
from tests.support.processes import ROOT, Usage, usage_of
from tests.support.wire import LaneStatistics


class LinkProcess:
    """The same as `Link`, synchronously; methods may be called from any thread."""

    def __init__(self, upstream: Endpoint, profile: LinkProfile = LOOP, listen: Endpoint = LOOPBACK) -> None:
        self._argv = [sys.executable, "-m", "tests.support.link_process", str(upstream), str(listen)]
        self._profile = profile
        self._endpoint = listen
        self._lock = threading.Lock()
        self._popen: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=ROOT
        )
        self.profile = self._profile
        self._endpoint = parse_endpoint(str(self._ask({"do": "endpoint"})))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._popen is not None
        # What a dead emulator was not told stays in the buffer, and closing tries again to send it.
        with contextlib.suppress(BrokenPipeError):
            self._popen.__exit__(kind, error, trace)

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def profile(self) -> LinkProfile:
        return self._profile

    @profile.setter
    def profile(self, profile: LinkProfile) -> None:
        self._profile = profile
        self._ask({"do": "profile", "profile": dataclasses.asdict(profile)})

    def cut(self, how: Cut = Cut.SILENT) -> None:
        self._ask({"do": "cut", "how": how.value})

    def restore(self) -> None:
        self._ask({"do": "restore"})

    def statistics(self) -> LinkStatistics:
        got = self._ask({"do": "statistics"})
        return LinkStatistics(
            **{**got, "up": LaneStatistics(**got["up"]), "down": LaneStatistics(**got["down"])},
        )

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def usage(self) -> Usage:
        """What the emulator itself costs."""
        return usage_of(self.pid)

    def kill(self) -> None:
        """kill -9, as if the link's machine had gone; its connections are reset."""
        assert self._popen is not None
        self._popen.kill()
        self._popen.wait()

    def _ask(self, command: Mapping[str, object]) -> Any:
        assert self._popen is not None
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        answer = ""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._popen.stdin.write(json.dumps(command) + "\n")
            self._popen.stdin.flush()
            answer = self._popen.stdout.readline()
        if not answer:
            raise RuntimeError(f"the link emulator ended with {self._popen.wait()}")
        return json.loads(answer)


def _obey(link: Link, command: Mapping[str, Any]) -> object:
    match command["do"]:
        case "endpoint":
            return str(link.endpoint)
        case "profile":
            link.profile = LinkProfile(**command["profile"])
        case "cut":
            link.cut(Cut(command["how"]))
        case "restore":
            link.restore()
        case "statistics":
            return dataclasses.asdict(link.statistics())
        case unknown:
            raise ValueError(f"no such command: {unknown!r}")
    return None


async def _work(upstream: Endpoint, listen: Endpoint) -> None:
    link = Link(upstream, listen=listen)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.serve)
        async with trio.lowlevel.FdStream(os.dup(0)) as commands:
            pending = b""
            async for piece in commands:
                *lines, pending = (pending + piece).split(b"\n")
                for line in lines:
                    sys.stdout.write(json.dumps(_obey(link, json.loads(line))) + "\n")
                    sys.stdout.flush()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_work, parse_endpoint(sys.argv[1]), parse_endpoint(sys.argv[2]) if len(sys.argv) > 2 else LOOPBACK)
