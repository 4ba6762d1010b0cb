"""A proxy for HTTP/1.1 that does to each request what a script says, and remembers what it saw.

In trio: `endpoint = await nursery.start(proxy.serve)`. For tests that are synchronous, or that mount for real:
`with FaultProxyThread(upstream, script) as proxy`, which runs it in a thread. Upstream and downstream may each be TCP
or a unix socket. Each client connection has one upstream connection, opened with its first request that needs one; when
the upstream ends it while idle, the client's is ended too.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import trio

from tests.support.endpoints import LOOPBACK, Door, Endpoint, connect
from tests.support.fault_exchange import FaultyConnection
from tests.support.faults import Fault, Script
from tests.support.request_log import RequestLog


class FaultProxy:
    """`script` may be replaced at any time, for the requests that come after."""

    def __init__(self, upstream: Endpoint, script: Script | None = None, listen: Endpoint = LOOPBACK) -> None:
        self.upstream = upstream
        self.script = script or Script()
        self.log = RequestLog()
        self._door = Door(listen)
        self._released = trio.Event()
        self._connections = 0
        self._open: set[trio.CancelScope] = set()

    @property
    def endpoint(self) -> Endpoint:
        return self._door.endpoint

    @property
    def connections(self) -> int:
        """Accepted since the start."""
        return self._connections

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def shut(self, *, reset_open: bool = True) -> None:
        """Until `open`: connections are refused, and those that are open are reset (unless they are to live on)."""
        self._door.shut()
        if reset_open:
            for scope in self._open:
                scope.cancel()

    def open(self) -> None:
        self._door.open()

    def release(self) -> None:
        """End the stalls that have no end of their own and are going on now."""
        self._released.set()
        self._released = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started with the endpoint, its real port in it."""
        await self._door.serve(self._serve_connection, task_status=task_status)

    async def _serve_connection(self, client: trio.SocketStream) -> None:
        self._connections += 1
        connection = FaultyConnection(
            self._connections,
            client,
            log=self.log,
            decide=self._decide,
            connect=self._connect,
            stall=self._stall,
        )
        with trio.CancelScope() as scope:
            self._open.add(scope)
            try:
                await connection.run()
            finally:
                self._open.discard(scope)

    def _decide(self, method: str, target: str) -> Fault | None:
        return self.script.decide(method, target)

    async def _connect(self) -> trio.SocketStream:
        return await connect(self.upstream)

    async def _stall(self, seconds: float | None) -> None:
        if seconds is None:
            await self._released.wait()
        else:
            await trio.sleep(seconds)


class FaultProxyThread:
    """A `FaultProxy` in a thread of its own; everything here may be called from any other thread."""

    def __init__(self, upstream: Endpoint, script: Script | None = None, listen: Endpoint = LOOPBACK) -> None:
        self._proxy = FaultProxy(upstream, script, listen)
        self._started: queue.SimpleQueue[tuple[trio.lowlevel.TrioToken, trio.CancelScope] | BaseException]
        self._started = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None

    @property
    def endpoint(self) -> Endpoint:
        return self._proxy.endpoint

    @property
    def log(self) -> RequestLog:
        return self._proxy.log

    @property
    def connections(self) -> int:
        return self._proxy.connections

    @property
    def script(self) -> Script:
        return self._proxy.script

    @script.setter
    def script(self, script: Script) -> None:
        self._proxy.script = script

    def shut(self, *, reset_open: bool = True) -> None:
        self._call(lambda: self._proxy.shut(reset_open=reset_open))

    def open(self) -> None:
        self._call(self._proxy.open)

    def release(self) -> None:
        self._call(self._proxy.release)

    def __enter__(self) -> Self:
        self._thread.start()
        started = self._started.get()
        if isinstance(started, BaseException):
            raise started
        self._token, self._scope = started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._scope is not None
        with contextlib.suppress(trio.RunFinishedError):
            self._call(self._scope.cancel)
        self._thread.join()

    def _call(self, function: Callable[[], None]) -> None:
        assert self._token is not None
        trio.from_thread.run_sync(function, trio_token=self._token)

    def _run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._proxy.serve)
                self._started.put((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
        except BaseException as error:
            self._started.put(error)
            raise
