"""Passwords: argon2id, slow on purpose, never more than two at a time, and as slow for a user who does not exist."""

from __future__ import annotations

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bitcasafs.errors import Busy, NameInvalid
from bitcasafs.server.threads import Threads

MEMORY_KIB = 19 * 1024
PASSES = 2
"""OWASP's smallest argon2id setting (19 MiB, 2 passes, 1 lane), about 25 ms here: with two at a time 38 MiB, which a
server that promises 150 MiB can spare. The library's default takes 64 MiB each."""

AT_ONCE = 2
WAITING = 64
"""Logins beyond are told to come back: else a flood of them would queue for minutes."""

LONGEST_BYTES = 1024


def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)


def hash_password(password: str) -> str:
    """What to keep of a password; blocks for 25 ms. NameInvalid for one that is empty or longer than 1,024 bytes."""
    if not 1 <= len(password.encode("utf-8", "surrogatepass")) <= LONGEST_BYTES:
        raise NameInvalid(f"a password has 1 to {LONGEST_BYTES} bytes")
    return _hasher().hash(password.encode("utf-8", "surrogatepass"))


class Passwords:
    """Checks passwords in threads. State: how many are being checked."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._hasher = _hasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobody = self._hasher.hash(secrets.token_bytes(16))

    async def check(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right; `password_hash` None (no such user) takes as long and is never right. Busy."""
        if self._waiting >= WAITING:
            raise Busy("too many people log in at this moment", applied=False, retry_after_seconds=2)
        self._waiting += 1
        try:
            async with self._turns:
                right = await self._threads.content(self._verify, password, password_hash or self._nobody)
        finally:
            self._waiting -= 1
        return right and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other settings than today's, and is to be made anew at this login."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password: str, password_hash: str) -> bool:
        encoded = password.encode("utf-8", "surrogatepass")
        if len(encoded) > LONGEST_BYTES:
            return False
        try:
            return self._hasher.verify(password_hash, encoded)
        except (VerificationError, InvalidHashError):
            return False
