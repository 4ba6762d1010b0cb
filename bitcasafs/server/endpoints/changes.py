"""Part 1's changes: a new folder, rename and move, delete (protocol 1.8, 1.9), with part 2's conditions (2.2, 2.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from starlette.responses import Response

from bitcasafs.dialects.batch import operation_digest
from bitcasafs.dialects.forms import (
    DONE,
    ChangeOptions,
    encode_folder_answer,
    parse_delete,
    parse_form,
    parse_options,
    parse_rename,
)
from bitcasafs.dialects.messages import IDEMPOTENT_REPLAY
from bitcasafs.errors import Exists, Malformed
from bitcasafs.server.answers import Answer, cursor_header, json_answer
from bitcasafs.server.call import Call
from bitcasafs.server.metadata.interface import Applied, Request, StoredContent
from bitcasafs.server.portal import Portal
from bitcasafs.server.targets import existing, new, where
from bitcasafs.values.items import IdempotencyKey
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Operation


async def make_folder(call: Call) -> Answer:
    """`POST /directory{parent}/{name}`: an existing folder is answered, not refused. Old clients send no body, or one
    that is no form; its fields are conditions as those of the query are."""
    portal = call.portal
    options = options_of(call, parse_form(await call.body.read(portal.limits.form_bytes)) if portal.extended else {})
    parent, name = new(where(call.captured["path"], extended=portal.extended))
    exists = options.exists or OnExisting.MERGE
    if exists not in (OnExisting.FAIL, OnExisting.MERGE):
        raise Malformed("exists of a new folder is fail or merge")
    operation = Mkdir(parent, name, exists, parent_mtime_ns=options.parent_mtime_ns, key=options.key)
    (applied,) = await apply(call, [operation])
    assert applied.item is not None, "a new folder is an item"
    created = applied.status == 201
    if not applied.item.is_folder:
        raise Exists(f"{name!r} is a file")
    answer = encode_folder_answer(applied.item, created=created, extensions=portal.extended)
    return json_answer(answer, headers=change_headers(portal, applied))


async def rename(call: Call) -> Answer:
    """`POST /rename/`: onto an existing name it is an error, never an overwrite, unless part 2's `exists` says so."""
    portal = call.portal
    asked = parse_rename(await call.body.read(portal.limits.form_bytes), call.headers, call.query)
    options = asked.options if portal.extended else ChangeOptions()
    parent, name = new(where(asked.destination, extended=portal.extended))
    operation = Move(
        existing(where(asked.source, extended=portal.extended)),
        parent,
        name,
        exists=options.exists or OnExisting.FAIL,
        if_match=options.if_match,
        if_match_target=options.if_match_target,
        parent_mtime_ns=options.parent_mtime_ns,
        key=options.key,
    )
    (applied,) = await apply(call, [operation])
    return Response(DONE, headers=change_headers(portal, applied), media_type="text/plain")


async def delete(call: Call) -> Answer:
    """`POST /delete`: folders go with their contents. Of several items one may fail: the others are gone, and the
    answer is the first error."""
    portal = call.portal
    asked = parse_delete(await call.body.read(portal.limits.form_bytes), call.headers, call.query)
    options = asked.options if portal.extended else ChangeOptions()
    if options.if_match is not None and len(asked.paths) > 1:
        raise Malformed("a condition is about one item")
    operations = [
        Delete(
            existing(where(path, extended=portal.extended)),
            if_match=options.if_match,
            recursive=True if options.recursive is None else options.recursive,
            parent_mtime_ns=options.parent_mtime_ns,
            key=_numbered(options.key, number),
        )
        for number, path in enumerate(asked.paths)
    ]
    applied = await apply(call, operations)
    return Response(DONE, headers=change_headers(portal, applied[-1]), media_type="text/plain")


def options_of(call: Call, fields: dict[str, str] | None = None) -> ChangeOptions:
    """Part 2's conditions; on a historical portal there are none, whatever was sent."""
    if not call.portal.extended:
        return ChangeOptions()
    return parse_options({**call.query, **(fields or {})}, call.headers)


async def apply(call: Call, operations: Sequence[Operation]) -> list[Applied]:
    """Carry out operations without content. Raises the first error, after all were tried."""
    requests = [as_request(operation) for operation in operations]
    applied = await call.portal.threads.write(_apply, call.portal, call.user, requests)
    return [checked(one) for one in applied]


def _apply(portal: Portal, user: int, requests: Sequence[Request]) -> list[Applied]:
    touch = touches_parent(portal, requests)
    if len(requests) == 1:
        return [portal.commits.apply(user, requests[0], touch_parent=touch)]
    return list(portal.metadata.apply(user, requests, touch_parent=touch))


def touches_parent(portal: Portal, requests: Sequence[Request]) -> bool:
    """Whether these come from a client of part 1, for whom the server keeps a folder's time: it sends no key."""
    return not portal.extended or all(request.operation.key is None for request in requests)


def as_request(operation: Operation, content: StoredContent | None = None) -> Request:
    return Request(operation, content, operation_digest(operation, content.md5 if content else None))


def checked(applied: Applied) -> Applied:
    """Raises what it failed with."""
    if applied.error is not None:
        raise applied.error
    return applied


def change_headers(portal: Portal, applied: Applied) -> dict[str, str]:
    headers = cursor_header(portal, applied.cursor)
    return {**headers, IDEMPOTENT_REPLAY: "true"} if applied.replayed and portal.extended else headers


def _numbered(key: IdempotencyKey | None, number: int) -> IdempotencyKey | None:
    """Each item of a selection is a change of its own, with a key of its own made from the request's."""
    if key is None or number == 0:
        return key
    return IdempotencyKey(hashlib.sha256(f"{key} {number}".encode()).hexdigest())
