"""Whether the emulated link keeps its rates on this machine, by hand: `python -m tests.support.link_speed`.

Two threads of this process send and receive through a `LinkProcess`. Expected: LOOP over 600 Mbit/s (measured: 9,000 on
two cores), and a named rate within 5 % once the round trips at the beginning are taken off.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from dataclasses import replace

from tests.support.endpoints import Tcp
from tests.support.link import FIBER, LOOP, WAN, LinkProfile
from tests.support.link_process import LinkProcess

PIECE = bytes(256 * 1024)
CASES = (
    (LOOP, 400_000_000),
    (FIBER, 50_000_000),
    (replace(WAN, name="wan without loss", stall_probability=0), 25_000_000),
    (WAN, 25_000_000),
)


def send(stream: socket.socket, size_bytes: int) -> None:
    while size_bytes:
        size_bytes -= stream.send(PIECE[: min(size_bytes, len(PIECE))])
    stream.shutdown(socket.SHUT_WR)


def receive(stream: socket.socket) -> int:
    space, got_bytes = bytearray(len(PIECE)), 0
    while count := stream.recv_into(space):
        got_bytes += count
    return got_bytes


def seconds_to_pass(listener: socket.socket, link: LinkProcess, up: bool, size_bytes: int, connections: int) -> float:
    """All connections together carry `size_bytes` in one direction; from the first connect to the last byte."""
    assert isinstance(link.endpoint, Tcp)
    started_at = time.monotonic()
    threads, streams = [], []
    for _ in range(connections):
        client = socket.create_connection((link.endpoint.host, link.endpoint.port))
        server = listener.accept()[0]
        source, sink = (client, server) if up else (server, client)
        threads.append(threading.Thread(target=send, args=(source, size_bytes // connections)))
        threads.append(threading.Thread(target=receive, args=(sink,)))
        streams += [client, server]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for stream in streams:
        stream.close()
    return time.monotonic() - started_at


def shown(profile: LinkProfile, up: bool, connections: int, size_bytes: int, seconds: float, cpu_seconds: float) -> str:
    way = "up  " if up else "down"
    rate = size_bytes * 8 / (seconds - profile.round_trip_seconds * (connections + 0.5)) / 1e6
    return (
        f"{profile.name:17} {way} x{connections} {rate:8.1f} Mbit/s  {cpu_seconds / size_bytes * 1e9:5.1f} CPU s/GB\n"
    )


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with LinkProcess(Tcp(host, port)) as link:
            for profile, size_bytes in CASES:
                link.profile = profile
                for up in (False, True):
                    for connections in (1, 4):
                        before = link.usage().cpu_seconds
                        seconds = seconds_to_pass(listener, link, up, size_bytes, connections)
                        used = link.usage().cpu_seconds - before
                        sys.stdout.write(shown(profile, up, connections, size_bytes, seconds, used))


if __name__ == "__main__":
    main()
