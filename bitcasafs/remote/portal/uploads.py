"""Part 1's upload, `POST /files`: one file as multipart/form-data whose length is known before its first byte.

Who uses: `extended` for what is too large for a batch, `historical` for everything.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping

from bitcasafs.dialects.forms import decode_upload_answer
from bitcasafs.dialects.multipart import content_type, upload_prefix, upload_suffix
from bitcasafs.dialects.refusals import decode_error
from bitcasafs.remote.interface import Source
from bitcasafs.remote.portal import targets
from bitcasafs.remote.portal.session import Session
from bitcasafs.remote.portal.transport import Body
from bitcasafs.values.items import Address, Item

PIECE_BYTES = 128 * 1024
"""One write to the socket must end within the time-out of silence: with 15 s that is 70 kbit/s, slower than any link
that people mount over. Smaller pieces cost more CPU each."""

Progress = Callable[[int], None]


def source_pieces(source: Source, progress: Progress | None = None) -> Iterator[bytes]:
    """The bytes of a source, in order; `progress` is told their sum."""
    sent = 0
    for start in range(0, source.size_bytes, PIECE_BYTES):
        piece = source.read(start, min(start + PIECE_BYTES, source.size_bytes))
        yield piece
        # Told when the next piece is asked for: by then this one is with the kernel.
        sent += len(piece)
        if progress is not None:
            progress(sent)


async def upload(
    session: Session,
    parent: Address,
    name: str,
    source: Source,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Item:
    """Send one file; answers the item that the portal made, whose name may be another (`name (1).ext`)."""
    boundary = secrets.token_hex(24)
    prefix, suffix = upload_prefix(name, boundary), upload_suffix(boundary)

    def pieces() -> Iterator[bytes]:
        yield prefix
        yield from source_pieces(source, progress)
        yield suffix

    answer = await session.call(
        "POST",
        targets.files(parent, query or {}),
        headers={"Content-Type": content_type(boundary), **(headers or {})},
        body=Body(len(prefix) + source.size_bytes + len(suffix), pieces),
    )
    if answer.status not in (200, 201):
        raise decode_error(answer.status, answer.body, answer.headers)
    return decode_upload_answer(answer.body)
