"""`GET /directory{path}`: a folder, or the roots (protocol 1.4).

A long folder is sent as it is read, so that 100,000 items cost no more memory than some hundred.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import islice

from starlette.responses import Response

from bitcasafs.dialects.listing import ListingQuery, encode_listing, listing_pieces
from bitcasafs.dialects.messages import JSON_TYPE
from bitcasafs.dialects.names import PathTarget
from bitcasafs.server.answers import Answer, Streamed, cursor_header, json_answer
from bitcasafs.server.call import Call
from bitcasafs.server.metadata.interface import Column, FolderPage
from bitcasafs.server.targets import where

MOST_PIECES = 500
"""Taken together, nearly all of them rows: about 250 KiB of JSON, one hop to a thread and one send."""


async def list_folder(call: Call) -> Answer:
    portal, user = call.portal, call.user
    query = ListingQuery.parse(call.query)
    target = where(call.captured["path"] or "/", extended=portal.extended)
    if target == PathTarget(None):
        return await _list_roots(call, query)

    def begin() -> tuple[FolderPage, Iterator[bytes], list[bytes]]:
        page = portal.metadata.list_folder(
            user,
            target,
            top=query.start if query.window else None,
            bottom=query.stop,
            sort_column=Column(query.sort_column),
            ascending=query.sort_ascending,
        )
        pieces = listing_pieces(page.items, query, name=page.name, total=page.total, extensions=portal.extended)
        return page, pieces, list(islice(pieces, MOST_PIECES))

    page, pieces, first = await portal.threads.read(begin)
    headers = cursor_header(portal, page.cursor)
    if len(first) < MOST_PIECES:
        page.items.close()
        return Response(b"".join(first), 200, headers, JSON_TYPE)

    async def rest() -> AsyncIterator[bytes]:
        some = first
        while some:
            yield b"".join(some)
            some = await portal.threads.read(lambda: list(islice(pieces, MOST_PIECES)))

    return Streamed(rest(), page.items.close, headers=headers, media_type=JSON_TYPE)


async def _list_roots(call: Call, query: ListingQuery) -> Answer:
    """The drive and its read-only mirrors; their order is theirs, whatever is asked for."""
    portal = call.portal
    roots = await portal.threads.read(portal.metadata.roots, call.user)
    rows = roots.items[query.start : query.stop]
    answer = encode_listing(rows, query, name="", total=len(roots.items), extensions=portal.extended)
    return json_answer(answer, headers=cursor_header(portal, roots.cursor))
