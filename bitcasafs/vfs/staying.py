"""Files that stay open: what is written to them is sealed and sent without a close (`writing.staying` says when).

Who uses: `mount.run` starts it beside the scheduler. It looks at the open handles every few seconds; each look is done
between two awaits.
"""

from __future__ import annotations

import logging

import trio

from bitcasafs.errors import BitcasaError
from bitcasafs.vfs.core import Core
from bitcasafs.vfs.files import Files
from bitcasafs.vfs.nodes import Node
from bitcasafs.writing.change import State

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Small beside the times of the policy; a look at a thousand open files takes a millisecond."""


class StayingOpen:
    def __init__(self, core: Core, files: Files) -> None:
        self._handles, self._contents, self._scheduler = core.handles, core.contents, core.scheduler
        self._deliveries, self._files = core.deliveries, files

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Let go what is due."""
        now = trio.current_time()
        for node in {handle.node for handle in self._handles.files() if handle.writable}:
            if node.activity is not None and node.activity.due <= now:
                try:
                    self._let_go(node, overdue=node.activity.overdue <= now)
                except (BitcasaError, OSError) as error:  # tried again at the next look
                    log.warning("a file that stays open could not be sealed: %s", error)

    def _let_go(self, node: Node, *, overdue: bool) -> None:
        self._files.seal(node)
        node.activity = None  # what is sealed is not held back any more
        record = self._contents.record(node.number)
        if overdue and record is not None and record.state is State.READY and self._contents.is_copied_soon(record):
            # Its turn may come when it was just written again, each time: from here on that goes on in a copy.
            self._deliveries.at_once([record.id])
        self._scheduler.wake()
