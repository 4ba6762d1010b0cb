"""From an id or a version to the content it means: current or kept (protocol 1.6, 2.1, 2.7)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from bitcasafs.dialects.media import mime_of
from bitcasafs.errors import NotFound, VersionGone
from bitcasafs.server.metadata.interface import StoredVersion
from bitcasafs.server.metadata.rows import MIME_OF_LINKS
from bitcasafs.server.metadata.schema import drives, entries, nodes, versions
from bitcasafs.server.metadata.tokens import Tokens

_A_NAME = select(entries.c.name).where(entries.c.node == nodes.c.id).limit(1).scalar_subquery()
# The name comes along: for a small download a second query costs as much as the whole of this one.
_VERSION = (
    select(
        versions.c.id,
        versions.c.token,
        versions.c.node,
        versions.c.digest,
        versions.c.size_bytes,
        versions.c.md5,
        versions.c.mime,
        versions.c.replaced_ns,
        nodes.c.symlink,
        _A_NAME.label("name"),
    )
    .join_from(versions, nodes, nodes.c.id == versions.c.node)
    .join(drives, drives.c.id == nodes.c.drive)
    .where(versions.c.token == bindparam("token"), drives.c.user == bindparam("user"))
)
_ANYBODYS = select(versions.c.id).where(versions.c.token == bindparam("token"))
_REFERENCED = select(versions.c.digest).where(versions.c.digest.in_(bindparam("digests", expanding=True))).distinct()


def content(connection: Connection, tokens: Tokens, user: int, file_id: str, version: str | None) -> StoredVersion:
    """NotFound: no such id here, or another user's. VersionGone: it was one, and is no longer kept.

    A version asked for by name is VersionGone whether it was invented, another's, or dropped: nothing tells them apart.
    """
    token = tokens.version_of(file_id)
    if token is None:
        raise NotFound("there is no such file")
    row = connection.execute(_VERSION, {"token": token, "user": user}).one_or_none()
    if row is None and connection.execute(_ANYBODYS, {"token": token}).first() is not None:
        raise NotFound("there is no such file")
    if version is not None and version != token:
        node = None if row is None else row.node
        row = connection.execute(_VERSION, {"token": version, "user": user}).one_or_none()
        if row is not None and node is not None and row.node != node:
            raise NotFound("that version is of another file")
    if row is None:
        raise VersionGone("that content is no longer kept")
    name = row.name if row.replaced_ns is None else None
    mime = row.mime
    if name is not None:
        mime = mime_of(name) if row.symlink is None else MIME_OF_LINKS
    return StoredVersion(name, row.digest, row.size_bytes, row.token, row.md5, mime)


def referenced(connection: Connection, digests: Sequence[bytes]) -> set[bytes]:
    """Those that some version has, current or kept."""
    found: set[bytes] = set()
    for start in range(0, len(digests), 500):
        found.update(connection.execute(_REFERENCED, {"digests": list(digests[start : start + 500])}).scalars())
    return found
