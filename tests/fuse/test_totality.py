"""Whatever the core raises, in whatever handler, leaves as an errno: taken from the class, so none is forgotten."""

from __future__ import annotations

import errno
import inspect
from typing import Any, cast

import pyfuse3
import pytest

from bitcasafs.fuse.guard import Guard
from bitcasafs.fuse.operations import KernelOperations
from bitcasafs.vfs.filesystem import FileSystem


class Faulty:
    """A core whose every family and call has a bug."""

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return self if name in ("names", "files", "folders", "attributes") else self._call

    def _call(self, *arguments: object) -> None:
        raise self._fault


def handlers() -> list[str]:
    """The requests of the kernel that pyfuse3 hands on."""
    return sorted(
        name for name, function in inspect.getmembers(pyfuse3.Operations, inspect.iscoroutinefunction) if name[0] != "_"
    )


ARGUMENTS: dict[str, Any] = {
    "name": b"name", "name_old": b"name", "name_new": b"new name", "new_name": b"new name", "target": b"target",
    "value": b"value", "buf": b"data", "mode": 0o644, "flags": 0, "fh": 1, "off": 0, "size": 1, "datasync": False,
    "start_id": 0, "rdev": 0, "inode_list": [(2, 1)], "ctx": pyfuse3.RequestContext(),
    "attr": pyfuse3.EntryAttributes(), "fields": pyfuse3.SetattrFields(), "token": None, "poll_handle": None,
    "ph": None,
}  # fmt: skip

# What is answered without asking anybody.
WITHOUT_THE_CORE = {
    "access": None,
    "link": errno.EPERM,
    "mknod": errno.EOPNOTSUPP,
    "poll": errno.ENOSYS,
}
NOBODY_WAITS = {"forget"}


async def answer(operations: KernelOperations, handler: str) -> int | None:
    """The errno that the kernel gets; None: it went well. Anything but an errno is raised on."""
    function = getattr(operations, handler)
    arguments = {name: ARGUMENTS.get(name, 2) for name in inspect.signature(function).parameters}
    if handler in ("getxattr", "setxattr", "removexattr"):
        arguments["name"] = b"user.name"
    try:
        await function(**arguments)
    except pyfuse3.FUSEError as error:
        return error.errno
    return None


def test_every_request_has_a_handler_of_ours() -> None:
    inherited = {name for name in handlers() if name not in vars(KernelOperations)}
    assert inherited <= {"poll"}  # ENOSYS is right: the kernel answers it itself from then on


@pytest.mark.allow_log("failed in a way that nobody foresaw")
@pytest.mark.parametrize(
    "fault",
    [RuntimeError("a bug"), KeyError(1), ExceptionGroup("a nursery", [ValueError("one"), RuntimeError("another")])],
    ids=["one", "another", "a group"],
)
@pytest.mark.parametrize("handler", handlers())
async def test_a_fault_in_the_core_is_eio_and_counted(handler: str, fault: Exception) -> None:
    guard = Guard()
    told = await answer(KernelOperations(cast(FileSystem, Faulty(fault)), guard), handler)
    if handler in WITHOUT_THE_CORE:
        assert (told, guard.statistics().faults) == (WITHOUT_THE_CORE[handler], 0)
    else:
        assert told == (None if handler in NOBODY_WAITS else errno.EIO)
        assert guard.statistics().faults == 1
