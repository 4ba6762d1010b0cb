"""Passwords: right, wrong, nobody's, and too many at once."""

from __future__ import annotations

import asyncio

import pytest

from bitcasafs.errors import Busy, NameInvalid
from bitcasafs.server.passwords import AT_ONCE, WAITING, Passwords, hash_password
from bitcasafs.server.threads import Threads


def test_only_the_right_password_of_a_user_who_exists_is_right() -> None:
    async def check() -> list[bool]:
        passwords = Passwords(threads)
        kept = hash_password("correct")
        assert not passwords.is_outdated(kept)
        return [
            await passwords.check("correct", kept),
            await passwords.check("wrong", kept),
            await passwords.check("x" * 2000, kept),
            await passwords.check("correct", None),
            await passwords.check("correct", "not a hash"),
        ]

    threads = Threads()
    try:
        assert asyncio.run(check()) == [True, False, False, False, False]
    finally:
        threads.close()


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_passwords_that_cannot_be_are_refused(password: str) -> None:
    with pytest.raises(NameInvalid):
        hash_password(password)


def test_a_flood_of_logins_is_told_to_come_back_and_few_are_checked_at_once() -> None:
    running = most = 0

    class Counting(Threads):
        async def content(self, *ignored: object, **more: object) -> bool:  # type: ignore[override]
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return True

    async def flood() -> list[bool | BaseException]:
        passwords = Passwords(threads)
        return await asyncio.gather(*(passwords.check("x", "y") for _ in range(WAITING + 3)), return_exceptions=True)

    threads = Counting()
    try:
        answers = asyncio.run(flood())
    finally:
        threads.close()
    assert sum(answer is True for answer in answers) == WAITING
    assert [type(answer) for answer in answers if answer is not True] == [Busy] * 3
    assert most == AT_ONCE
