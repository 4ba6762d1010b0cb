"""Both ends of the control socket's lines."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitcasafs.control.messages import (
    Ask,
    Reply,
    ReplyKind,
    Request,
    encode_reply,
    encode_request,
    parse_reply,
    parse_request,
)
from bitcasafs.errors import ProtocolError
from bitcasafs.status import NoticeStatus, ProblemStatus, RemoteStatus, Status, UploadStatus

texts = st.text(max_size=30)
counts = st.integers(0, 2**63)
uploads = st.builds(UploadStatus, path=texts, sent_bytes=counts, size_bytes=counts)
problems = st.builds(ProblemStatus, path=texts, reason=texts, id=counts)
notices = st.builds(NoticeStatus, path=texts, text=texts, age_seconds=st.floats(0, 1e9))
statuses = st.builds(
    Status,
    pid=counts,
    mountpoint=texts,
    portal=texts,
    version=texts,
    mounted=st.booleans(),
    pending=counts,
    sending=st.lists(uploads, max_size=3).map(tuple),
    problems=st.lists(problems, max_size=3).map(tuple),
    last_error=st.none() | texts,
    bytes_per_second=st.floats(0, 1e12),
    oldest_seconds=st.none() | st.floats(0, 1e9),
    notices=st.lists(notices, max_size=3).map(tuple),
    remote=st.builds(RemoteStatus, requests=counts, mean_seconds=st.none() | st.floats(0, 100)),
)


@given(st.builds(Request, ask=st.sampled_from(Ask), until=st.none() | counts))
def test_a_request_comes_back_as_it_was(request: Request) -> None:
    line = encode_request(request)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert parse_request(line) == request


@given(statuses, st.sampled_from([ReplyKind.STATUS, ReplyKind.PROGRESS, ReplyKind.DONE]))
def test_a_reply_comes_back_as_it_was(status: Status, kind: ReplyKind) -> None:
    assert parse_reply(encode_reply(Reply(kind, status))) == Reply(kind, status)


def test_a_refusal_carries_its_reason() -> None:
    reply = Reply(ReplyKind.REFUSED, message="it is mounted")
    assert parse_reply(encode_reply(reply)) == reply


def test_a_mountpoint_that_is_not_utf8_travels() -> None:
    status = Status(1, "/mnt/\udcff", "portal", "1")
    assert parse_reply(encode_reply(Reply(ReplyKind.STATUS, status))).status == status


def test_fields_of_a_later_version_are_ignored() -> None:
    document = json.loads(encode_reply(Reply(ReplyKind.STATUS, Status(1, "/mnt", "portal", "2"))))
    document["status"]["invented_later"] = {"x": 1}
    document["status"]["remote"]["invented_later"] = 1
    parsed = parse_reply(json.dumps(document).encode())
    assert parsed.status == Status(1, "/mnt", "portal", "2")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello\n",
        b"[]\n",
        b"{}\n",
        b'{"version": 2, "request": "status"}\n',
        b'{"version": 1, "request": "explode"}\n',
        b'{"version": 1, "request": "sync", "until": "tomorrow"}\n',
        b'{"version": 1, "request": "sync", "until": true}\n',
        b'{"version": 1, "request": "sync", "until": -1}\n',
        b"\xff\xfe\n",
        b"[" * 10_000,
    ],
)
def test_what_is_no_request_is_named(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"version": 1, "reply": "status"}\n',
        b'{"version": 1, "reply": "done", "status": 3}\n',
        b'{"version": 1, "reply": "done", "status": {"pid": 1}}\n',
        b'{"version": 1, "reply": "done", "status": {"pid": 1, "sending": 7}}\n',
        b'{"version": 1, "reply": "later"}\n',
    ],
)
def test_what_is_no_reply_is_named(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(line)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_named_error(line: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with contextlib.suppress(ProtocolError):
            parse(line)
