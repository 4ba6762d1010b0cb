"""A request's body: bounded, and never waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.datastructures import Headers

from bitcasafs.errors import BitcasaError, TimedOut, TooLarge, Truncated
from bitcasafs.server.call import Body

Message = dict[str, Any]


def piece(data: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


def read(*messages: Message, limit: int = 100, length: str | None = None) -> bytes:
    """A client that says `messages` and then nothing."""
    said = iter(messages)

    async def receive() -> Message:
        for message in said:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    headers = Headers({"content-length": length} if length is not None else {})
    return asyncio.run(Body(receive, headers, 0.01).read(limit))


def test_pieces_are_joined_to_the_end() -> None:
    assert read(piece(b"one ", more=True), piece(b"", more=True), piece(b"two", more=False)) == b"one two"
    assert read(piece(b"", more=False)) == b""


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: read(piece(b"x" * 101, more=False)), TooLarge),
        (lambda: read(piece(b"x" * 60, more=True), piece(b"x" * 60, more=False)), TooLarge),
        (lambda: read(length="101"), TooLarge),
        (lambda: read(piece(b"x", more=True), {"type": "http.disconnect"}), Truncated),
        (lambda: read(piece(b"x", more=True)), TimedOut),
    ],
)
def test_what_is_too_long_broken_off_or_silent_is_refused(ask: Callable[[], bytes], error: type[BitcasaError]) -> None:
    with pytest.raises(error):
        ask()


def test_a_content_length_that_is_nonsense_announces_nothing() -> None:
    for length in ("-1", "many", "²", "9" * 30, ""):
        assert read(piece(b"x", more=False), length=length) == b"x"


def test_a_form_that_comes_byte_by_byte_without_a_silence_is_given_up() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0)
        return piece(b"x", more=True)

    with pytest.raises(TimedOut):
        asyncio.run(Body(receive, Headers({}), 60.0).read(10**9, within_seconds=0.05))
