"""A mount from its first answer to its last upload: what is asked of it meanwhile, and when it may end.

Who uses: `run` drives it; the control service asks it. State changes between awaits.

    mounted --unmounted by anybody--> sending what is left --all sent, handed over, patience over--> ended
       \\--told to stop: unmounted lazily, sealed--> sending, 10 s at most -----------------------> ended
"""

from __future__ import annotations

import logging
import math
import os

import trio

import bitcasafs
from bitcasafs.errors import BitcasaError
from bitcasafs.fuse.session import unmount_lazily
from bitcasafs.mount.compose import Parts
from bitcasafs.mount.patience import Patience
from bitcasafs.remote.timing import RemoteStatistics
from bitcasafs.status import NoticeStatus, ProblemStatus, RemoteStatus, Status, UploadStatus

_log = logging.getLogger(__name__)

_RELEASE_SECONDS = 5.0
_SHOWN_PROBLEMS = 1000


class Life:
    """One mount's. `control.service.Drive` is what the service sees of it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._started = trio.current_time()
        self._patience = Patience(parts.config.linger_seconds)
        self._kernel_gone = trio.Event()
        self._ended = trio.Event()
        self._serving = trio.CancelScope()

    # --- for run --------------------------------------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer the kernel until it lets go. Started: the mountpoint answers."""
        try:
            with self._serving:
                await self._parts.session.run(task_status=task_status)
        finally:
            self._kernel_gone.set()

    def stop(self) -> bool:
        """Begin to end. False: that was said before."""
        if self._patience.stopped.is_set():
            return False
        self._patience.stopped.set()
        return True

    async def last(self) -> None:
        """Return when the process may end: all is sent that can be, or the time for it is over."""
        await _first_of(self._kernel_gone, self._patience.stopped)
        if not self._kernel_gone.is_set():
            await self._let_go()
        # The kernel drops releases that it had queued (8 of 21, measured): what they would have sealed is sealed here.
        self._parts.core.files.seal_all()
        self._parts.session.close()
        self._parts.core.scheduler.end_of_writers()
        await self._send_the_rest()
        self._ended.set()

    async def _let_go(self) -> None:
        """Out of the tree at once, so that nobody opens anything new; then what is open is sealed."""
        config = self._parts.config
        if not await unmount_lazily(config.mountpoint):
            _log.warning("%s could not be unmounted lazily", config.mountpoint)
        self._parts.core.files.seal_all()
        self._parts.session.end()
        with trio.move_on_after(_RELEASE_SECONDS):
            await self._kernel_gone.wait()
        # A request that waits for the network is given up: its answer would go into a session that is closed.
        self._serving.cancel()
        await self._kernel_gone.wait()

    async def _send_the_rest(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up, nursery.cancel_scope)
            await self._parts.core.deliveries.drained()
            nursery.cancel_scope.cancel()
        left = self._parts.outbox.statistics().pending
        if left:
            _log.warning("%d changes stay in %s; the next mount sends them", left, self._parts.config.account)

    async def _give_up(self, scope: trio.CancelScope) -> None:
        await self._patience.over()
        scope.cancel()

    # --- for the control service ----------------------------------------------------------------------------------

    async def drained(self, until: int) -> None:
        await self._parts.core.deliveries.drained(until)

    async def ended(self) -> None:
        with self._patience.somebody_waits():
            await self._ended.wait()

    def hand_over(self) -> None:
        if not self._kernel_gone.is_set():
            raise BitcasaError(f"it is mounted at {self._parts.config.mountpoint}")
        self._patience.handed_over.set()

    def status(self) -> Status:
        parts = self._parts
        outbox, sending, guard = parts.outbox.statistics(), parts.core.scheduler.statistics(), parts.guard.statistics()
        connection = parts.session.connection
        return Status(
            pid=os.getpid(),
            mountpoint=os.fspath(parts.config.mountpoint),
            portal=parts.config.source,
            version=bitcasafs.__version__,
            mounted=not self._kernel_gone.is_set(),
            uptime_seconds=trio.current_time() - self._started,
            timeout_seconds=parts.config.timeout_seconds,
            linger_seconds=parts.config.linger_seconds,
            staging=os.fspath(parts.config.staged),
            pending=outbox.pending,
            pending_bytes=outbox.pending_bytes,
            sending=tuple(
                UploadStatus(parts.core.overlay.path(one.node), one.sent_bytes, one.size_bytes)
                for one in sending.sending
            ),
            problem_count=outbox.problems,
            problems=self._problems() if outbox.problems else (),
            newest_change=outbox.newest_id,
            sent_changes=sending.sent_changes,
            sent_bytes=sending.sent_bytes,
            failed_attempts=sending.failed_attempts,
            last_error=sending.last_error,
            kernel_faults=guard.faults,
            last_fault=guard.last_fault,
            kernel_limits_raised=None if connection is None else connection.raised,
            remote=_remote_status(parts.remote.statistics()),
            bytes_per_second=sending.bytes_per_second,
            oldest_seconds=None,
            notices=self._notices(),
        )

    def _problems(self) -> tuple[ProblemStatus, ...]:
        found = zip(range(_SHOWN_PROBLEMS), self._parts.core.problems(), strict=False)
        return tuple(ProblemStatus(problem.path, problem.reason, problem.id) for _, problem in found)

    def _notices(self) -> tuple[NoticeStatus, ...]:
        now = trio.current_time()
        return tuple(NoticeStatus(one.path, one.text, now - one.at) for one in self._parts.core.notices.list())


def _remote_status(statistics: RemoteStatistics) -> RemoteStatus:
    kinds = statistics.kinds.values()
    calls = sum(kind.calls for kind in kinds)
    return RemoteStatus(
        requests=calls,
        failures=sum(kind.failures for kind in kinds),
        mean_seconds=math.fsum(kind.seconds for kind in kinds) / calls if calls else None,
    )


async def _first_of(*events: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
