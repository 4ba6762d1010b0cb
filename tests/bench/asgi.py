"""Which ASGI server: receiving and sending large bodies with each that could carry ours.

Run by `scripts/bench asgi`; the numbers and the decision are in docs/asgi-servers.md. One tiny application is served by
each server in a process of its own; the client is blocking sockets in threads, so that it costs the least. Printed are
MB/s, the server's CPU seconds per GB, its peak memory with eight uploads of 256 MiB at once, the same with a slow
application (which must slow the clients, not fill memory), and whether a unix socket works.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import granian
import hypercorn.asyncio
import hypercorn.config
import uvicorn
import uvloop
from granian.constants import Interfaces

PIECE = bytes(256 * 1024)
SERVERS = ("uvicorn-httptools", "uvicorn-h11", "hypercorn-uvloop", "hypercorn-asyncio", "granian")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Stored:
    """What an upload does with its bytes: two digests and a file (without a name, so nothing is left)."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile(buffering=len(PIECE))  # noqa: SIM115 (closed with the object)
        self.digests = hashlib.sha256(usedforsecurity=False), hashlib.md5(usedforsecurity=False)

    def write(self, piece: bytes) -> None:
        self.file.write(piece)
        for digest in self.digests:
            digest.update(piece)


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """PUT /: takes a body and forgets it; /slow: 2 ms a message; /store: hashes and writes it, as our uploads do;
    GET /N: N bytes in pieces of 256 KiB.
    """
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    if scope["method"] == "PUT":
        more = True
        store = Stored() if scope["path"] == "/store" else None
        while more:
            message = await receive()
            more = message.get("more_body", False) and message["type"] == "http.request"
            if scope["path"] == "/slow":
                await asyncio.sleep(0.002)
            if store is not None:
                store.write(message["body"])
        await send(start)
        await send({"type": "http.response.body", "body": b""})
        return
    left = int(scope["path"].lstrip("/") or 0)
    await send({**start, "headers": [(b"content-length", b"%d" % left)]})
    while left > 0:
        piece = PIECE if left >= len(PIECE) else PIECE[:left]
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


def serve(kind: str, path: str) -> None:
    """Serve `application` with one of SERVERS on the unix socket `path`, in this process, until killed."""
    if kind.startswith("uvicorn"):
        fast = kind.endswith("httptools")
        uvicorn.run(
            application,
            uds=path,
            http="httptools" if fast else "h11",
            loop="uvloop" if fast else "asyncio",
            log_level="error",
            access_log=False,
        )
    elif kind.startswith("hypercorn"):
        config = hypercorn.config.Config()
        config.bind = [f"unix:{path}"]
        config.loglevel = "error"
        if kind.endswith("uvloop"):
            uvloop.run(hypercorn.asyncio.serve(application, config))  # type: ignore[arg-type]
        else:
            asyncio.run(hypercorn.asyncio.serve(application, config))  # type: ignore[arg-type]
    else:
        granian.Granian(
            f"{__name__}:application",
            uds=pathlib.Path(path),
            interface=Interfaces.ASGI,
            workers=1,
            log_enabled=False,
            websockets=False,
        ).serve()


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_seconds: float
    peak_mib: float


def _family(pid: int) -> list[int]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in _family(int(child)))]


def usage(pid: int) -> Usage:
    """CPU seconds and peak resident MiB of a process and its children, as /proc tells it."""
    ticks = 0
    peak_kib = 0
    for member in _family(pid):
        fields = pathlib.Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
        for line in pathlib.Path(f"/proc/{member}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak_kib += int(line.split()[1])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), peak_kib / 1024)


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def put(path: str, size_bytes: int, target: str = "/") -> None:
    with _connect(path) as connection:
        connection.sendall(f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size_bytes}\r\n\r\n".encode())
        for _ in range(size_bytes // len(PIECE)):
            connection.sendall(PIECE)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the upload was refused")


def get(path: str, size_bytes: int, wait_seconds: float = 0) -> None:
    """Read a whole answer; with `wait_seconds` stop that long after the first bytes: a slow consumer."""
    with _connect(path) as connection:
        connection.sendall(f"GET /{size_bytes} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        buffer = bytearray(1024 * 1024)
        got = connection.recv_into(buffer)
        time.sleep(wait_seconds)
        while count := connection.recv_into(buffer):
            got += count
        if got < size_bytes:
            raise RuntimeError(f"{got} bytes came, fewer than {size_bytes}")


def together(count: int, work: Callable[[], None]) -> float:
    """Run `work` in `count` threads; the seconds it took."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def measure(kind: str, size_bytes: int) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.asgi", "--serve", kind, "--socket", path])
        try:
            _wait_until_ready(path, process)
            cells = [kind]
            loads: tuple[tuple[int, Callable[[], None]], ...] = (
                (1, lambda: put(path, size_bytes)),
                (8, lambda: put(path, size_bytes)),
                (1, lambda: put(path, size_bytes, "/store")),
                (1, lambda: get(path, size_bytes)),
                (8, lambda: get(path, size_bytes)),
            )
            for count, work in loads:
                before = usage(process.pid)
                seconds = together(count, work)
                after = usage(process.pid)
                volume = count * size_bytes
                per_gb = (after.cpu_seconds - before.cpu_seconds) / volume * 1e9
                cells.append(f"{volume / seconds / 1e6:.0f} ({per_gb:.2f})")
            cells.append(f"{usage(process.pid).peak_mib:.0f}")
            together(8, lambda: get(path, size_bytes, 1.0))
            cells.append(f"{usage(process.pid).peak_mib:.0f}")
            together(8, lambda: put(path, size_bytes // 4, "/slow"))
            cells.append(f"{usage(process.pid).peak_mib:.0f}")
            return "| " + " | ".join(cells) + " |"
        finally:
            process.terminate()
            process.wait(10)


def _wait_until_ready(path: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            _connect(path).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="asgi")
    parser.add_argument("--serve", choices=SERVERS)
    parser.add_argument("--socket")
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("servers", nargs="*", default=SERVERS)
    arguments = parser.parse_args(argv)
    if arguments.serve:
        serve(arguments.serve, arguments.socket)
        return 0
    print("MB/s (CPU s per GB); peak MiB after the fast runs, with slow readers, with a slow application\n")
    columns = ("server", "receive 1", "receive 8", "receive, hash, write", "send 1", "send 8")
    print("| " + " | ".join((*columns, "peak", "slow readers", "slow application")) + " |")
    print("|---" * (len(columns) + 3) + "|")
    for kind in arguments.servers:
        try:
            print(measure(kind, arguments.mib * 1024 * 1024), flush=True)
        except (RuntimeError, OSError) as error:
            print(f"| {kind} | {error} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
