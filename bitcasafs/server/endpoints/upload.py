"""`POST /files?path=`: one file, streamed into the store (protocol 1.7), with part 2's conditions."""

from __future__ import annotations

from bitcasafs.dialects.forms import encode_upload_answer
from bitcasafs.dialects.multipart import FIELD_LIMIT_BYTES, FileData, FileStarted, UploadReader, parse_boundary
from bitcasafs.errors import ChecksumMismatch, Malformed, NotFolder, ReadOnly
from bitcasafs.server.answers import Answer, json_answer
from bitcasafs.server.call import Call
from bitcasafs.server.endpoints.changes import as_request, change_headers, checked, options_of, touches_parent
from bitcasafs.server.incoming import Incoming
from bitcasafs.server.metadata.interface import Applied, StoredContent
from bitcasafs.server.storing import kept
from bitcasafs.server.targets import where
from bitcasafs.values.items import Address
from bitcasafs.values.operations import OnExisting, Put


async def upload(call: Call) -> Answer:
    """An existing name is kept and the newcomer renamed, unless `exists` says otherwise."""
    portal = call.portal
    folder = await portal.threads.read(_folder, call)
    incoming = Incoming(portal)
    try:
        filename, fields = await _receive(call, incoming)
        options = options_of(call, fields)

        def put(content: StoredContent) -> Put:
            if options.md5 is not None and options.md5 != content.md5:
                raise ChecksumMismatch("the file does not have the md5 it was sent with", applied=False)
            return Put(
                folder,
                filename,
                content.size_bytes,
                exists=options.exists or OnExisting.RENAME,
                if_match=options.if_match,
                md5=options.md5,
                parent_mtime_ns=options.parent_mtime_ns,
                key=options.key,
            )

        def store() -> Applied:
            content = incoming.finish()
            request = as_request(put(content), content)
            with kept(portal, [incoming]) as unused:
                touch = touches_parent(portal, [request])
                applied = portal.commits.apply(call.user, request, touch_parent=touch)
                if applied.error is not None:
                    unused.add(content.digest)
            return applied

        applied = checked(await portal.threads.write(store))
    finally:
        await incoming.discard()
    assert applied.item is not None, "a stored file is an item"
    answer = encode_upload_answer(applied.item, extensions=portal.extended)
    return json_answer(answer, headers=change_headers(portal, applied))


def _folder(call: Call) -> Address:
    """Before the body is read: a client that waits for `100 Continue` need not send it in vain."""
    path = call.query.get("path")
    if not path:
        raise Malformed("an upload needs ?path=, the folder")
    folder = call.portal.metadata.find(call.user, where(path, extended=call.portal.extended))
    if not folder.is_folder:
        raise NotFolder(f"{folder.name!r} is not a folder")
    if folder.mirrored:
        raise ReadOnly(f"{folder.name!r} is a mirrored folder")
    return folder.address


async def _receive(call: Call, incoming: Incoming) -> tuple[str, dict[str, str]]:
    """File name, and the fields that came beside the file."""
    reader = UploadReader(parse_boundary(call.headers.get("content-type")))
    filename = ""
    async for piece in call.body.pieces(call.portal.limits.file_bytes + 2 * FIELD_LIMIT_BYTES):
        for event in reader.feed(piece):
            if isinstance(event, FileData):
                await incoming.write(event.data)
            elif isinstance(event, FileStarted):
                filename = event.filename
    reader.finish()
    await incoming.settle()
    return filename, reader.fields
