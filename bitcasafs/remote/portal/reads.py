"""What is asked of a portal without changing it: the profile, listings, and bytes of one content.

Both kinds of portal are read alike; where a historical one tells less, what is missing is filled in as
`values.items` says (a file's `id` is its version).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bitcasafs.dialects import profile as profile_message
from bitcasafs.dialects.listing import decode_listing
from bitcasafs.dialects.messages import CURSOR
from bitcasafs.dialects.names import is_upload_name
from bitcasafs.dialects.ranges import (
    decode_content_range,
    decode_etag,
    decode_repr_digest,
    encode_etag,
    encode_range,
)
from bitcasafs.dialects.refusals import decode_error
from bitcasafs.errors import (
    BitcasaError,
    ChecksumMismatch,
    Malformed,
    NotFolder,
    NotFound,
    ProtocolError,
    RangeInvalid,
    Truncated,
    Unavailable,
    VersionMismatch,
)
from bitcasafs.remote.interface import ContentRef, Sink
from bitcasafs.remote.portal import targets
from bitcasafs.remote.portal.session import Session
from bitcasafs.remote.portal.transport import SMALL_ANSWER_BYTES, Answer, Stream
from bitcasafs.values.items import Address, Attributes, Cursor, Item, Kind, Listing, Profile, Version

_LOOKS_UPWARDS = 32

LISTING_BYTES = 1024 * 1024 * 1024
"""A million items of the longest usual kind; an answer above it is no listing."""


class Reads:
    """`extended`: the portal has `versions`, so that contents are asked for by version and answered with one."""

    def __init__(self, session: Session, *, extended: bool) -> None:
        self._session = session
        self._extended = extended

    async def profile(self) -> Profile:
        answer = await self._session.call("GET", profile_message.PATH)
        return profile_message.decode_profile(_expect(answer, 200).body)

    async def roots(self) -> Listing:
        rows, cursor = await self._rows(targets.ROOTS)
        return Listing(tuple(rows), cursor)

    async def list(self, folder: Address) -> Listing:
        """NotFound, NotFolder."""
        if folder.path == "/" and folder.node is None:
            return await self.roots()
        rows, cursor = await self._explained(folder)
        return Listing(tuple(item for item in rows if not is_upload_name(item.name)), cursor)

    async def entries(self, folder: Address) -> dict[str, Item]:
        """Every item of a folder by name, those that mounts hide included. NotFound, NotFolder."""
        rows, _ = await self._explained(folder)
        return {item.name: item for item in rows}

    async def _explained(self, folder: Address) -> tuple[Sequence[Item], Cursor | None]:
        try:
            return await self._rows(targets.directory(folder))
        except (Malformed, ProtocolError) as error:
            # A portal that knows no codes: whether it is a file stands in the folder above.
            raise await self._why_not_listed(folder, error) from error

    async def _rows(self, target: str) -> tuple[Sequence[Item], Cursor | None]:
        answer = _expect(await self._session.call("GET", target, limit_bytes=LISTING_BYTES), 200)
        cursor = answer.headers.get(CURSOR) if self._extended else None
        return [self.completed(item) for item in decode_listing(answer.body)], Cursor(cursor) if cursor else None

    def completed(self, item: Item) -> Item:
        """An item as callers expect it; on a historical portal fields of extensions never come from anywhere else."""
        if self._extended:
            return item
        return replace(
            item,
            kind=Kind.FOLDER if item.is_folder else Kind.FILE,
            version=None if item.id is None else Version(item.id),
            node=None,
            parent=None,
            revision=None,
            digests={},
            attributes=Attributes(),
        )

    async def _why_not_listed(self, folder: Address, error: BitcasaError) -> BitcasaError:
        """Looks in the folders above, from the nearest on, until one can be listed."""
        if self._extended:
            return error
        path = folder.path
        for _ in range(_LOOKS_UPWARDS):
            parent, _, name = path.rpartition("/")
            if not parent:
                break
            try:
                rows, _ = await self._rows(targets.directory(Address(parent)))
            except (Malformed, ProtocolError):
                path = parent
                continue
            except BitcasaError:
                break
            present = next((item for item in rows if item.name == name), None)
            if present is None:
                return NotFound(f"no item at {folder.path}")
            return error if present.is_folder else NotFolder(f"{path} is a file")
        return error

    # --- content ---------------------------------------------------------------------------------------------------

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        """As `Remote.fetch`. The whole of a content is checked against the digest that comes with it, where one does:
        ChecksumMismatch after the last byte."""
        if not 0 <= start <= stop <= content.size_bytes:
            raise RangeInvalid(f"no bytes {start} to {stop} in {content.size_bytes}")
        if start == stop:
            await self._session.ensure()
            return
        whole = start == 0 and stop == content.size_bytes
        headers = {} if whole else {"Range": encode_range(start, stop)}
        query = {"size": str(content.size_bytes)}
        if self._extended and content.version is not None:
            headers["If-Match"] = encode_etag(content.version)
            query["version"] = content.version
        async with self._session.stream("GET", targets.file(content.id, query), headers=headers) as stream:
            if stream.status not in (200, 206):
                answer = await stream.read(SMALL_ANSWER_BYTES)
                raise decode_error(answer.status, answer.body, answer.headers)
            self._check_head(stream, content, start, stop)
            digest = _expected_md5(stream.headers) if whole else None
            await _receive(stream, start, stop, sink, digest)

    def _check_head(self, stream: Stream, content: ContentRef, start: int, stop: int) -> None:
        """That these are the bytes asked for, before the first one is handed on."""
        headers = stream.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            raise ProtocolError("a content is encoded, though none was asked for", headers["Content-Encoding"])
        version = decode_etag(headers.get("ETag"))
        if self._extended and content.version is not None and version is not None and version != content.version:
            raise VersionMismatch(f"the portal sends version {version}, not {content.version}")
        if stream.status == 206:
            got = decode_content_range(headers.get("Content-Range"))
            if (got.start, got.stop) != (start, stop):
                raise ProtocolError(f"bytes {start} to {stop} were asked for", headers.get("Content-Range"))
            total = got.total
        elif (start, stop) != (0, content.size_bytes):
            raise ProtocolError("a range was asked for, and the whole is sent")
        else:
            total = _announced(headers)
        if total is not None and total != content.size_bytes:
            if stream.status == 200 and total < content.size_bytes and not self._extended:
                return  # What arrives short is found by its size: the caller gets what comes, then Truncated.
            raise VersionMismatch(f"the content has {total} bytes, not {content.size_bytes}")


async def _receive(stream: Stream, start: int, stop: int, sink: Sink, md5: str | None) -> None:
    """Hand on exactly [start, stop). Truncated when less comes, ProtocolError when more does."""
    position = start
    digest = hashlib.md5(usedforsecurity=False) if md5 is not None else None
    try:
        async for piece in stream:
            if position + len(piece) > stop:
                raise ProtocolError(f"more than the {stop - start} bytes asked for are sent")
            if piece:
                sink(position, piece)
                if digest is not None:
                    digest.update(piece)
            position += len(piece)
    except Unavailable:
        # What breaks after the last byte breaks nothing of ours.
        if position < stop:
            raise
    if position < stop:
        raise Truncated(f"only {position - start} of {stop - start} bytes arrived")
    if digest is not None and digest.hexdigest() != md5:
        raise ChecksumMismatch("the content does not have the digest that it was sent with")


def _announced(headers: Mapping[str, str]) -> int | None:
    length = headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None


def _expected_md5(headers: Mapping[str, str]) -> str | None:
    return decode_repr_digest(headers.get("Repr-Digest")).get("md5")


def _expect(answer: Answer, status: int) -> Answer:
    if answer.status != status:
        raise decode_error(answer.status, answer.body, answer.headers)
    return answer
