"""The parts of a server put together from its configuration: here alone it is decided what stands on what."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from starlette.types import ASGIApp

from bitcasafs import __version__
from bitcasafs.atomic import make_private_folder
from bitcasafs.clock import Clock, SystemClock
from bitcasafs.dialects.discovery import Extensions
from bitcasafs.server.config import Limits, ServerConfig
from bitcasafs.server.content.claims import Claims
from bitcasafs.server.content.folder import FolderContentStore
from bitcasafs.server.dispatch import Dispatcher
from bitcasafs.server.metadata import Metadata
from bitcasafs.server.passwords import Passwords
from bitcasafs.server.portal import Portal
from bitcasafs.server.routes import RouteTable
from bitcasafs.server.sessions import Sessions
from bitcasafs.server.shared_commits import SharedCommits
from bitcasafs.server.threads import Threads
from bitcasafs.server.turns import Turns
from bitcasafs.server.web.headers import SafeHeaders
from bitcasafs.server.web.leftovers import Leftovers
from bitcasafs.server.web.origins import Origins
from bitcasafs.server.web.paths import Paths

DATABASE = "metadata.db"
CONTENT = "content"


def open_metadata(data: Path, *, clock: Clock) -> Metadata:
    """The metadata in a data folder, made where it is missing. ConfigError."""
    make_private_folder(data)
    return Metadata.open(f"sqlite:///{data.absolute() / DATABASE}", clock=clock)


@contextlib.contextmanager
def open_portal(config: ServerConfig, *, clock: Clock | None = None) -> Iterator[Portal]:
    """Everything a server works with; the caller holds the lock of the data folder. ConfigError."""
    with contextlib.ExitStack() as stack:
        metadata = open_metadata(config.data, clock=clock or SystemClock())
        stack.callback(metadata.close)
        contents = FolderContentStore.open_folder(config.data / CONTENT)
        stack.callback(contents.close)
        threads = Threads()
        stack.callback(threads.close)
        yield Portal(
            metadata=metadata,
            commits=SharedCommits(metadata),
            contents=contents,
            claims=Claims(),
            threads=threads,
            passwords=Passwords(threads),
            names=Turns(),
            addresses=Turns(),
            sessions=Sessions(lambda hashed: threads.read(metadata.session, hashed)),
            limits=config.limits,
            extensions=None if config.historical else _extensions(config.limits),
            is_secure=config.is_secure,
            keep_session_id=config.keep_session_id,
        )


def build_app(portal: Portal) -> ASGIApp:
    """The ASGI application. From the outside in: headers on every answer, leftovers of unread bodies, the path as
    text, no changes from other sites, then routes."""
    app: ASGIApp = Dispatcher(portal, RouteTable(extended=portal.extended))
    app = Origins(app)
    app = Paths(app)
    app = Leftovers(app)
    return SafeHeaders(app, is_secure=portal.is_secure)


def _extensions(limits: Limits) -> Extensions:
    return Extensions(
        version=__version__,
        versions=True,
        attributes=True,
        batch=limits.batch,
        quota=True,
        file_bytes=limits.file_bytes,
    )
