"""The answers that idempotency keys keep: found before an operation, written in the transaction of its effect.

So an answer is there exactly when its effect is, and a repeat after a lost answer gets the same one (protocol 2.3).
Failures are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from bitcasafs.dialects.items import decode_item, encode_item
from bitcasafs.errors import KeyReused, Malformed
from bitcasafs.server.metadata.interface import Applied
from bitcasafs.server.metadata.schema import answers
from bitcasafs.values.items import Cursor, IdempotencyKey

KEY_CHARACTERS = (16, 64)

_FIND = select(answers.c.key, answers.c.fingerprint, answers.c.status, answers.c.item, answers.c.cursor).where(
    answers.c.user == bindparam("of_user"), answers.c.key.in_(bindparam("keys", expanding=True))
)
_INSERT = insert(answers)


class Answers:
    """Those of one user that a group of operations asks for, and those that it gives. Lives for a transaction."""

    def __init__(self, connection: Connection, user: int, keys: Iterable[IdempotencyKey]) -> None:
        self._connection = connection
        self._user = user
        self._kept: dict[str, tuple[str, Applied]] = {}
        self._new: list[dict[str, Any]] = []
        if wanted := list(keys):
            for key, fingerprint, status, item, cursor in connection.execute(_FIND, {"of_user": user, "keys": wanted}):
                present = None if item is None else decode_item(json.loads(item))
                self._kept[key] = (fingerprint, Applied(status, present, cursor=Cursor(str(cursor)), replayed=True))

    def replay(self, key: IdempotencyKey, fingerprint: str) -> Applied | None:
        """The answer that this request got before; None: it is new. KeyReused; Malformed (no key at all)."""
        if not KEY_CHARACTERS[0] <= len(key) <= KEY_CHARACTERS[1]:
            raise Malformed("an idempotency key has {} to {} characters".format(*KEY_CHARACTERS))
        if key not in self._kept:
            return None
        known, answer = self._kept[key]
        if known != fingerprint:
            raise KeyReused("this idempotency key was used for another request")
        return answer

    def keep(self, key: IdempotencyKey, fingerprint: str, answer: Applied, now_ns: int) -> None:
        assert answer.cursor is not None
        self._kept[key] = (fingerprint, Applied(answer.status, answer.item, cursor=answer.cursor, replayed=True))
        item = answer.item and json.dumps(
            encode_item(answer.item, extensions=True), ensure_ascii=False, separators=(",", ":")
        )
        self._new.append(
            {
                "user": self._user,
                "key": key,
                "fingerprint": fingerprint,
                "status": answer.status,
                "item": item,
                "cursor": int(answer.cursor),
                "created_ns": now_ns,
            }
        )

    def write(self) -> None:
        if self._new:
            self._connection.execute(_INSERT, self._new)
            self._new = []
