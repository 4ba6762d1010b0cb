"""The first message of a mount, INIT, carried between the kernel and libfuse by hand, so that our limits are in it.

The kernel holds back every read for the page cache while 12 of them wait; the answer to INIT can say another number,
but pyfuse3 has no way to. (The other place to write it, /sys/fs/fuse/connections, is missing in most containers.) So
libfuse is given a socket instead of the device. When it has answered INIT through it, the answer goes on to the kernel
with our limits, and the device takes the socket's place. From then on nothing stands between them.

Measured with 200 readers that wait for the network: a read of known content took longer than 8 s with 12, and 2 ms with
our limits; statfs and stat never waited (docs/semantics.md).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import trio

MAX_BACKGROUND = 1024
"""256 is too few: 200 readers in the middle of their files had 294 requests waiting, because the kernel reads ahead for
each, and a read of known content waited with them (measured). The kernel keeps users other than root below
/sys/module/fuse/parameters/max_user_bgreq: 334 with 1 GiB of memory, 2,600 with 8."""
CONGESTION_THRESHOLD = 768
"""From so many waiting reads on the kernel no longer reads ahead; a read that begins then is asked for page by page."""

_MESSAGE_BYTES = 1 << 17
"""The kernel gives nothing to a buffer below 8 KiB; INIT and its answer have about 100 bytes."""

# fuse_out_header (length, error, unique), then fuse_init_out: major, minor, max_readahead, flags, and the two limits.
_HEAD = struct.Struct("=IiQIIII")
_LIMITS = struct.Struct("=HH")
_FIRST_MINOR_WITH_LIMITS = 13


def with_limits(answer: bytes) -> bytes:
    """libfuse's answer to INIT with our limits in it. One that has no place for them is left as it is."""
    if len(answer) < _HEAD.size + _LIMITS.size:
        return answer
    length, error, _, major, minor, _, _ = _HEAD.unpack_from(answer)
    if error or length != len(answer) or (major, minor) < (7, _FIRST_MINOR_WITH_LIMITS):
        return answer
    limits = _LIMITS.pack(MAX_BACKGROUND, CONGESTION_THRESHOLD)
    return answer[: _HEAD.size] + limits + answer[_HEAD.size + _LIMITS.size :]


class Handshake:
    """Made before libfuse's session, which is given `place` as its mountpoint. Owns the device until it is `done`."""

    def __init__(self, device: int) -> None:
        ours, libfuse = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._device = device
        self._ours = ours
        self._libfuse = libfuse.detach()
        self._done = False

    @property
    def place(self) -> str:
        """libfuse takes this for a descriptor that somebody else has mounted already (3.3 and later)."""
        return f"/dev/fd/{self._libfuse}"

    @property
    def device(self) -> int:
        """The descriptor to ask whether the mount is still there."""
        return self._libfuse if self._done else self._device

    async def run(self, serve: Callable[[], Awaitable[object]]) -> bool:
        """Carry INIT across, with `serve` (libfuse's loop) running for as long as that takes; it is cancelled then, and
        may be started again. True: our limits are in the answer.

        Waits for the kernel's message, which is there when the mount is, and for libfuse.
        """
        await trio.lowlevel.wait_readable(self._device)
        asked = os.read(self._device, _MESSAGE_BYTES)
        with trio.socket.from_stdlib_socket(self._ours) as ours:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                await ours.send(asked)
                answer = await ours.recv(_MESSAGE_BYTES)
                nursery.cancel_scope.cancel()
        ready = with_limits(answer)
        os.write(self._device, ready)
        os.dup2(self._device, self._libfuse, inheritable=False)
        os.close(self._device)
        self._done = True
        return ready != answer

    def close(self) -> None:
        """What libfuse does not close itself. Idempotent."""
        self._ours.close()
        if not self._done and self._device >= 0:
            os.close(self._device)
            self._device = -1

    def close_place(self) -> None:
        """For when libfuse never took it."""
        with contextlib.suppress(OSError):
            os.close(self._libfuse)
