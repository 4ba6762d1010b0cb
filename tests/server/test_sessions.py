from __future__ import annotations

import asyncio

from bitcasafs.server.metadata.interface import Session
from bitcasafs.server.sessions import Sessions

HASH = b"h" * 32
SESSION = Session(user=1, user_name="ann", csrf="c" * 32, created_ns=0, expires_ns=10**18)


class Asked:
    """Answers every question with SESSION, once `answering` is set."""

    def __init__(self) -> None:
        self.count = 0
        self.answering = asyncio.Event()

    async def __call__(self, hashed: bytes) -> Session | None:
        self.count += 1
        await self.answering.wait()
        return SESSION if hashed == HASH else None


def test_a_session_is_asked_for_once_and_again_when_it_was_forgotten() -> None:
    async def scenario() -> None:
        asked = Asked()
        asked.answering.set()
        sessions = Sessions(asked)
        assert [await sessions.find(HASH) for _ in range(3)] == [SESSION] * 3
        assert asked.count == 1
        sessions.forget(HASH)
        assert await sessions.find(HASH) == SESSION
        assert asked.count == 2

    asyncio.run(scenario())


def test_that_there_is_no_session_is_not_remembered() -> None:
    async def scenario() -> None:
        asked = Asked()
        asked.answering.set()
        sessions = Sessions(asked)
        assert [await sessions.find(b"other") for _ in range(2)] == [None, None]
        assert asked.count == 2

    asyncio.run(scenario())


def test_a_session_that_ends_while_it_is_asked_for_is_not_remembered() -> None:
    async def scenario() -> None:
        asked = Asked()
        sessions = Sessions(asked)
        finding = asyncio.create_task(sessions.find(HASH))
        await asyncio.sleep(0)
        sessions.forget(HASH)
        asked.answering.set()
        assert await finding == SESSION
        await sessions.find(HASH)
        assert asked.count == 2

    asyncio.run(scenario())
