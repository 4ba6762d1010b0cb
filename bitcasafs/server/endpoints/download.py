"""`GET /file/{id}` and `GET /file/{id}/download/{name}`: content, whole or a range of it (protocol 1.6, part 2)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from starlette.responses import Response

from bitcasafs.dialects.ranges import (
    Download,
    encode_content_range,
    encode_etag,
    encode_repr_digest,
    plan_download,
    unsatisfied_content_range,
)
from bitcasafs.errors import NotFound, RangeInvalid, Unavailable
from bitcasafs.server.answers import Answer, Streamed, attachment, refusal
from bitcasafs.server.call import Call
from bitcasafs.server.content.interface import ContentReader
from bitcasafs.server.metadata.interface import StoredVersion
from bitcasafs.server.portal import Portal

PIECE_BYTES = 256 * 1024
"""Larger ones are no faster; smaller ones cost CPU (docs/asgi-servers.md)."""

SMALL_BYTES = 64 * 1024
"""Read whole with the question to the metadata, whatever range is asked for."""

_log = logging.getLogger(__name__)


class ContentLost(Unavailable):
    """The metadata names a content that the store does not have: a fault of this server."""


async def download(call: Call) -> Answer:
    portal, user = call.portal, call.user
    version = call.query.get("version") or None if portal.extended else None
    stored, whole = await portal.threads.read(_find, call, user, version)
    try:
        plan = plan_download(call.headers, stored.size_bytes, stored.version if portal.extended else None)
    except RangeInvalid as error:
        return refusal(error, headers={"Content-Range": unsatisfied_content_range(stored.size_bytes)})
    headers = _headers(call, stored, plan)
    if plan.status == 304:
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(plan.stop - plan.start)
    if plan.start == plan.stop or call.method == "HEAD":
        return Response(b"", plan.status, headers)
    if whole:
        return Response(whole[plan.start : plan.stop], plan.status, headers)
    if plan.stop - plan.start <= PIECE_BYTES:
        return Response(await portal.threads.content(_whole, portal, stored, plan), plan.status, headers)
    reader = await portal.threads.content(_open, portal, stored)
    return Streamed(_pieces(portal, reader, plan), reader.close, status=plan.status, headers=headers)


def _find(call: Call, user: int, version: str | None) -> tuple[StoredVersion, bytes]:
    """What is asked for, and all its bytes when they are few and need no wait for the disk: one hop to a thread."""
    stored = call.portal.metadata.content(user, call.captured["id"], version)
    if call.method == "HEAD" or not 0 < stored.size_bytes <= SMALL_BYTES:
        return stored, b""
    reader = _open(call.portal, stored)
    try:
        piece = reader.read_at_once(0, stored.size_bytes)
    finally:
        reader.close()
    return stored, piece if len(piece) == stored.size_bytes else b""


def _headers(call: Call, stored: StoredVersion, plan: Download) -> dict[str, str]:
    name = call.captured.get("name") or stored.name or "file"
    headers = {
        "Content-Type": stored.mime,
        "Content-Disposition": attachment(name),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }
    if plan.status == 206:
        headers["Content-Range"] = encode_content_range(plan.start, plan.stop, stored.size_bytes)
    if call.portal.extended:
        headers["ETag"] = encode_etag(stored.version)
        headers["Repr-Digest"] = encode_repr_digest({"md5": stored.md5, "sha256": stored.digest.hex()})
    return headers


def _open(portal: Portal, stored: StoredVersion) -> ContentReader:
    try:
        reader = portal.contents.open(stored.digest)
    except NotFound:
        _log.error("content %s is missing in the store", stored.digest.hex())
        raise ContentLost("the server has lost this content") from None
    if reader.size_bytes != stored.size_bytes:
        reader.close()
        _log.error("content %s has another size in the store", stored.digest.hex())
        raise ContentLost("the server has lost this content")
    return reader


def _whole(portal: Portal, stored: StoredVersion, plan: Download) -> bytes:
    reader = _open(portal, stored)
    try:
        return reader.read(plan.start, plan.stop)
    finally:
        reader.close()


async def _pieces(portal: Portal, reader: ContentReader, plan: Download) -> AsyncIterator[bytes]:
    position = plan.start
    while position < plan.stop:
        stop = min(position + PIECE_BYTES, plan.stop)
        piece = reader.read_at_once(position, stop)
        if not piece:
            piece = await portal.threads.content(reader.read, position, stop)
        position += len(piece)
        yield piece
