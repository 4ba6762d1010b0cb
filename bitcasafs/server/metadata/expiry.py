"""Dropping what is past its keeping, and how content is deleted without ever losing any.

Kept: replaced and deleted content, answers and the history 30 days (the protocol asks for at least 30, 30 and 7).
What has expired is dropped in rounds, each a transaction of its own, so that nobody waits long for the writer.

Deleting content. The same bytes are stored once, so content that nothing refers to may at any moment be wanted by an
upload that finds it there already and is about to be applied. Who owns the content store keeps to this:

1. Who stores content claims its digest first, in a table under a lock, then makes it durable (or finds that it is),
   applies, and lets the claim go when `apply` has told.
2. `expire` drops old versions and remembers in `discarded` the digests that lost their last one. It answers all of
   `discarded` that no version refers to at that moment.
3. For those, under that lock: leave alone what is claimed, ask `unreferenced` about the rest, and delete what it names.
4. Then tell `content_deleted` what was deleted; what was left alone `expire` names again.

So an upload either has its claim before the store looks, or finds the content gone and writes it. A crash between any
two steps only means that a digest is named again. Content that was stored and never applied has no row here: a sweep
over the whole store finds it by step 3. (Several server processes over one store will need claims that all of them
see; one process has the data folder's lock.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import BindParameter, Connection, Delete, bindparam, delete, exists, select, update

from bitcasafs.server.metadata.engine import Database
from bitcasafs.server.metadata.interface import Expired
from bitcasafs.server.metadata.schema import (
    answers,
    changes,
    discarded,
    drives,
    entries,
    login_failures,
    nodes,
    sessions,
    versions,
)
from bitcasafs.server.metadata.throttle import WINDOW_SECONDS

KEPT_SECONDS = 30 * 86_400
ROUND_ROWS = 2_000

_SECOND_NS = 1_000_000_000
_IDS: BindParameter[int] = bindparam("ids", expanding=True)
_OLD_VERSIONS = (
    select(versions.c.id, versions.c.digest, versions.c.size_bytes)
    .where(versions.c.replaced_ns < bindparam("limit_ns"))
    .limit(ROUND_ROWS)
)  # fmt: skip
_OLD_NODES = select(nodes.c.id).where(nodes.c.deleted_ns < bindparam("limit_ns")).limit(ROUND_ROWS)
_DROP_NODES: tuple[Delete, ...] = (
    # A folder that goes has entries that stay behind only for nodes which go in this round or a later one.
    delete(entries).where(entries.c.parent.in_(_IDS)),
    delete(entries).where(entries.c.node.in_(_IDS)),
    delete(nodes).where(nodes.c.id.in_(_IDS)),
)
_REFERENCED = exists().where(versions.c.digest == discarded.c.digest)
_FIRST_KEPT = (
    select(changes.c.cursor)
    .where(changes.c.drive == bindparam("drive"), changes.c.at_ns >= bindparam("limit_ns"))
    .order_by(changes.c.cursor)
    .limit(1)
)


def expire(database: Database, now_ns: int) -> Expired:
    limit_ns = now_ns - KEPT_SECONDS * _SECOND_NS
    dropped_versions = _in_rounds(lambda: _versions_round(database, limit_ns, now_ns))
    # After their versions, which have the same moment or an earlier one.
    dropped_nodes = _in_rounds(lambda: _nodes_round(database, limit_ns))
    with database.writing() as connection:
        dropped_answers = connection.execute(delete(answers).where(answers.c.created_ns < limit_ns)).rowcount
        dropped_sessions = connection.execute(delete(sessions).where(sessions.c.expires_ns <= now_ns)).rowcount
        window_ns = int(now_ns - WINDOW_SECONDS * _SECOND_NS)
        connection.execute(delete(login_failures).where(login_failures.c.at_ns < window_ns))
        dropped_changes = _forget_changes(connection, limit_ns)
        connection.execute(delete(discarded).where(_REFERENCED))
        digests = tuple(connection.execute(select(discarded.c.digest)).scalars())
    return Expired(digests, dropped_versions, dropped_nodes, dropped_answers, dropped_sessions, dropped_changes)


def content_deleted(connection: Connection, digests: Sequence[bytes]) -> None:
    if digests:
        statement = delete(discarded).where(discarded.c.digest == bindparam("one"))
        connection.execute(statement, [{"one": digest} for digest in digests])


def _in_rounds(step: Callable[[], int]) -> int:
    total = 0
    while done := step():
        total += done
    return total


def _versions_round(database: Database, limit_ns: int, now_ns: int) -> int:
    with database.writing() as connection:
        rows = connection.execute(_OLD_VERSIONS, {"limit_ns": limit_ns}).all()
        if rows:
            digests = {row.digest for row in rows if row.size_bytes}
            if digests:
                connection.execute(
                    database.insert_or_leave(), [{"digest": digest, "at_ns": now_ns} for digest in sorted(digests)]
                )
            connection.execute(delete(versions).where(versions.c.id.in_(_IDS)), {"ids": [row.id for row in rows]})
        return len(rows)


def _nodes_round(database: Database, limit_ns: int) -> int:
    with database.writing() as connection:
        numbers = list(connection.execute(_OLD_NODES, {"limit_ns": limit_ns}).scalars())
        if numbers:
            for statement in _DROP_NODES:
                connection.execute(statement, {"ids": numbers})
        return len(numbers)


def _forget_changes(connection: Connection, limit_ns: int) -> int:
    """The history of each drive up to its first change that is young enough; `drives.forgotten` says so."""
    dropped = 0
    for drive, cursor in connection.execute(select(drives.c.id, drives.c.cursor)).all():
        first = connection.execute(_FIRST_KEPT, {"drive": drive, "limit_ns": limit_ns}).scalar_one_or_none()
        last = cursor if first is None else first - 1
        gone = connection.execute(delete(changes).where(changes.c.drive == drive, changes.c.cursor <= last)).rowcount
        if gone:
            connection.execute(update(drives).where(drives.c.id == drive).values(forgotten=last))
        dropped += gone
    return dropped
