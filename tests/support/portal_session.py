"""A logged-in HTTP client for tests of the server: plain httpx, the wire by hand, no adapter of ours between.

The forms and frames are written by `dialects`, whose other half the server reads with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import httpx

from bitcasafs.dialects.batch import CONTENT_END, encode_operation
from bitcasafs.dialects.login import encode_login, parse_login_page
from bitcasafs.dialects.messages import FORM_TYPE
from bitcasafs.dialects.names import quote_path
from bitcasafs.values.operations import Operation, Put
from tests.support.server import PASSWORD, USER, RunningServer


def connected(server: RunningServer) -> httpx.Client:
    """Nobody's client yet: no session, follows no redirect."""
    transport = httpx.HTTPTransport(uds=server.socket_path) if server.socket_path else None
    return httpx.Client(base_url=server.url, transport=transport, timeout=60)


def log_in(client: httpx.Client, user: str = USER, password: str = PASSWORD) -> httpx.Response:
    """The page, then the form; the answer to the form, redirects not followed."""
    form = parse_login_page(client.get("/login").text)
    return client.post("/login", content=encode_login(form, user, password), headers={"Content-Type": FORM_TYPE})


@dataclass(frozen=True, slots=True)
class Drive:
    """A logged-in user's drive, by names: `path` is `/` and the drive's id."""

    client: httpx.Client
    path: str

    @classmethod
    def of(cls, server: RunningServer, user: str = USER) -> Drive:
        client = connected(server)
        answer = log_in(client, user)
        assert answer.status_code == 302, answer.text
        return cls(client, client.get("/directory/").json()[0]["path"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.client.close()

    def at(self, name: str) -> str:
        """The full path of `name` (which may be `a/b`)."""
        return f"{self.path}/{name}" if name else self.path

    def rows(self, name: str = "") -> dict[str, dict[str, Any]]:
        """A folder's items by name."""
        answer = self.client.get("/directory" + quote_path(self.at(name)))
        assert answer.status_code == 200, answer.text
        return {row["name"]: row for row in answer.json()}

    def paths(self, name: str) -> list[str]:
        """Everything below a folder by its path from there, hidden names as well, twice what is there twice."""
        rows = self.client.get("/directory" + quote_path(self.at(name))).json()
        below = ((row["name"], self.paths(f"{name}/{row['name']}")) for row in rows if row["category"] == "folders")
        return [row["name"] for row in rows] + [f"{folder}/{path}" for folder, paths in below for path in paths]

    def make_folder(self, name: str) -> dict[str, Any]:
        answer = self.client.post("/directory" + quote_path(self.at(name)))
        assert answer.status_code == 200, answer.text
        item: dict[str, Any] = answer.json()["items"][0]
        return item

    def try_upload(self, name: str, content: bytes, folder: str = "", **more: Any) -> httpx.Response:
        """`params` and `headers` may be among `more`."""
        params = {"path": self.at(folder), **more.pop("params", {})}
        return self.client.post("/files", params=params, files={"file": (name, content)}, **more)

    def upload(self, name: str, content: bytes, folder: str = "", **more: Any) -> dict[str, Any]:
        answer = self.try_upload(name, content, folder, **more)
        assert answer.status_code == 200, answer.text
        item: dict[str, Any] = answer.json()[0]
        return item

    def download(self, item: dict[str, Any], **more: Any) -> httpx.Response:
        return self.client.get(f"/file/{item['id']}", **more)

    def rename(self, source: str, destination: str) -> httpx.Response:
        return self.client.post("/rename/", data={"from": self.at(source), "to": self.at(destination)})

    def delete(self, *names: str) -> httpx.Response:
        selection = {"paths": [self.at(name) for name in names], "albums": {}, "artists": [], "photo_albums": []}
        return self.client.post("/delete", data={"selection": json.dumps(selection)})

    def batch(self, *operations: tuple[Operation, bytes] | Operation) -> list[dict[str, Any]]:
        answer = self.client.post("/batch", content=batch_body(operations))
        assert answer.status_code == 200, answer.text
        return lines(answer)


def batch_body(operations: Iterable[tuple[Operation, bytes] | Operation]) -> bytes:
    """The body of a batch; a Put stands with its content."""
    frames = []
    for one in operations:
        operation, content = one if isinstance(one, tuple) else (one, b"")
        frames.append(encode_operation(operation))
        if isinstance(operation, Put):
            frames.append(content + CONTENT_END)
    return b"".join(frames)


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    """The JSON lines of a batch's answer."""
    return [json.loads(line) for line in answer.text.splitlines()]
