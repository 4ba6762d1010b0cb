"""One of two mounts of a drive: what a test knows of it, and its tree at one moment. Who uses: `two_mounts`."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from bitcasafs import errors
from bitcasafs.vfs.entry import Handle
from tests.support.far_remote import FarRemote
from tests.support.machine import Machine, machine

TTL_SECONDS = 5.0
WALKS = 20
LINK = b"-> "
Tree = Mapping[str, bytes | None]


@dataclass
class Side:
    """One mount, and what is known of it. `touched`: all names in the paths that its changes named since both mounts
    agreed.
    """

    name: str
    remote: FarRemote
    folder: Path
    machine: Machine
    stopping: trio.Event = field(default_factory=trio.Event)
    stopped: trio.Event = field(default_factory=trio.Event)
    touched: set[str] = field(default_factory=set)
    handle: Handle | None = None
    number: int = 0
    """The node of `handle`."""
    dirty: bool = False
    """Something was written through `handle` that no flush has sealed."""
    detached: bytes = b""
    """What was last sealed of the handle's node while no name led to it: it is to become a copy."""
    last: Tree | None = None
    """The tree after the last step, as long as nothing but this mount's own operations can change it."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.stopping, self.stopped = trio.Event(), trio.Event()
        async with machine(self.remote, self.folder, ttl_seconds=TTL_SECONDS, host=self.name) as self.machine:
            task_status.started()
            await self.stopping.wait()
        self.handle, self.dirty, self.detached = None, False, b""
        self.stopped.set()

    async def kill(self) -> None:
        self.stopping.set()
        await self.stopped.wait()

    async def seen(self) -> Tree | None:
        """The tree at one moment; None: not to be had now, since the portal is away and was not asked before."""
        self.remote.at_hand = True
        try:
            for _ in range(WALKS):
                await wait_all_tasks_blocked()
                began = trio.current_time()
                try:
                    tree = await self.machine.tree()
                except (FileNotFoundError, errors.NotFound, errors.Stale):
                    # It changed in the middle of a walk that waited; or a historical portal has moved a file, and after
                    # a kill nobody knows of that before the change is looked after.
                    assert began != trio.current_time() or self.remote.historical, "a name leads to nothing"
                    await trio.sleep(1)
                    continue
                if began == trio.current_time():
                    return tree
            raise AssertionError("the tree does not come to rest")
        except errors.Unavailable:
            return None
        finally:
            self.remote.at_hand = False

    async def numbers(self, tree: Tree) -> dict[int, str]:
        return {(await self.machine.find(path)).number: path for path in tree}


def files(tree: Tree) -> set[bytes]:
    """Contents that are told from others."""
    return {data for data in tree.values() if data}


def without_links(tree: Tree) -> Tree:
    """As a historical portal has it."""
    return {path: b"" if data is not None and data.startswith(LINK) else data for path, data in tree.items()}


def difference(one: Tree | None, other: Tree | None) -> str:
    """What `one` has that `other` has not, and the other way round."""
    first, second = dict(one or {}), dict(other or {})
    more = {path: data for path, data in first.items() if path not in second or second[path] != data}
    less = {path: data for path, data in second.items() if path not in first or first[path] != data}
    return f"has {more}, not {less}"


async def outcome(call: Awaitable[Any]) -> object:
    try:
        return await call
    except FileNotFoundError:
        return errors.NotFound
    except errors.BitcasaError as error:
        return type(error)
