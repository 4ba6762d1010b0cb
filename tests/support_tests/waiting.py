"""What a synchronous test waits for while another process or thread acts on what it was told."""

from __future__ import annotations

import time

import httpx


def when_open(client: httpx.Client, path: str) -> httpx.Response:
    """GET as soon as somebody listens again; ConnectError when nobody does within 10 s."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return client.get(path)
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
