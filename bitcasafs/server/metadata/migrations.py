"""The schema's version, and the steps from each version to the next.

Who uses: `store.Metadata.open`. A new database gets the present tables at once; an old one runs the steps it lacks,
all in one transaction (both databases can undo DDL). There is no way back: a database that a newer program has
changed is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select, update

from bitcasafs.errors import ConfigError
from bitcasafs.server.metadata.schema import settings, tables

Step = Callable[[Connection], None]

STEPS: tuple[Step, ...] = ()
"""`STEPS[n - 1]` leads from version n to n + 1, in SQL that does not depend on `schema` (which moves on)."""


def prepare(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Create or migrate. ConfigError: made by a newer program, or there are tables that are not ours."""
    present = set(inspect(connection).get_table_names())
    newest = len(steps) + 1
    if not present:
        tables.create_all(connection)
        rows = [{"key": "schema", "value": str(newest)}, {"key": "secret", "value": secrets.token_hex(32)}]
        connection.execute(insert(settings), rows)
        return
    version = _version(connection) if settings.name in present else None
    if version is None:
        raise ConfigError("the database holds tables that are not BitcasaFS metadata")
    if version > newest:
        raise ConfigError(
            f"the metadata has schema version {version}, and this program knows versions up to {newest}: "
            "a newer BitcasaFS has used it; install that version"
        )
    for step in steps[version - 1 :]:
        step(connection)
    if version < newest:
        connection.execute(update(settings).where(settings.c.key == "schema").values(value=str(newest)))


def secret(connection: Connection) -> bytes:
    """The key that signs ids of files in this database."""
    return bytes.fromhex(connection.execute(select(settings.c.value).where(settings.c.key == "secret")).scalar_one())


def _version(connection: Connection) -> int | None:
    value = connection.execute(select(settings.c.value).where(settings.c.key == "schema")).scalar_one_or_none()
    return int(value) if value is not None and value.isdecimal() and int(value) >= 1 else None
