"""Users, their sessions, and failed logins: the statements behind `store.Metadata`'s part on accounts.

Passwords come as argon2's string and tokens as sha256: neither can be used by who reads the database.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from bitcasafs.dialects.names import check_name
from bitcasafs.errors import Exists, NameInvalid, NotFound
from bitcasafs.server.metadata import throttle
from bitcasafs.server.metadata.interface import Session, User
from bitcasafs.server.metadata.schema import SERIAL_BITS, drives, login_failures, nodes, sessions, users
from bitcasafs.server.metadata.tokens import new_drive, new_node
from bitcasafs.values.items import Profile, RootKind

DRIVE_NAME = "Bitcasa Infinite Drive"
SEEN_SECONDS = 600.0
"""How exact `seen_ns` is: a session that is used all the time writes once in that time, not with every request."""

FAILURES_COUNTED = 64
"""More of one name or address make no difference to the delay."""

_SECOND_NS = 1_000_000_000
_USERS = select(
    users.c.id, users.c.name, users.c.password_hash, users.c.email, users.c.quota_bytes, users.c.created_ns
)  # fmt: skip
_SESSION = (
    select(
        sessions.c.user, users.c.name, sessions.c.csrf, sessions.c.created_ns, sessions.c.expires_ns, sessions.c.seen_ns
    )
    .join_from(sessions, users, users.c.id == sessions.c.user, isouter=True)
    .where(sessions.c.token_hash == bindparam("token_hash"), sessions.c.expires_ns > bindparam("now_ns"))
)
_PROFILE = (
    select(
        users.c.email, users.c.first_name, users.c.last_name, users.c.quota_bytes, drives.c.used_bytes, drives.c.files
    )
    .join_from(users, drives)
    .where(users.c.id == bindparam("user"), drives.c.kind == RootKind.DRIVE.value)
)


def add_user(
    connection: Connection,
    name: str,
    password_hash: str,
    *,
    email: str,
    first_name: str,
    last_name: str,
    quota_bytes: int | None,
    now_ns: int,
) -> int:
    """The user, an empty drive and its root; answers the user's number. Exists, NameInvalid."""
    if not check_name(name).isprintable() or name != name.strip():
        raise NameInvalid(f"{name!r} cannot be a user's name: printable characters, no blank at either end")
    if connection.execute(select(users.c.id).where(users.c.name == name)).first() is not None:
        raise Exists(f"there is a user {name!r} already")
    values = {
        "name": name,
        "password_hash": password_hash,
        "email": email,
        "first_name": first_name,
        "last_name": last_name,
        "quota_bytes": quota_bytes,
        "created_ns": now_ns,
    }
    inserted = connection.execute(insert(users).values(values)).inserted_primary_key
    assert inserted is not None
    user = int(inserted[0])
    add_drive(connection, user, RootKind.DRIVE, DRIVE_NAME, now_ns)
    return user


def add_drive(connection: Connection, user: int, kind: RootKind, name: str, now_ns: int) -> int:
    """An empty root; answers its number."""
    values = {
        "public": new_drive(),
        "user": user,
        "kind": kind.value,
        "name": name,
        "root": 0,
        "cursor": 0,
        "serial": 1,
        "used_bytes": 0,
        "files": 0,
        "forgotten": 0,
    }
    inserted = connection.execute(insert(drives).values(values)).inserted_primary_key
    assert inserted is not None
    drive = int(inserted[0])
    root = (drive << SERIAL_BITS) + 1
    connection.execute(
        insert(nodes).values(
            id=root, token=new_node(), drive=drive, folder=True, revision=1, mtime_ns=now_ns, ctime_ns=now_ns, nlink=1
        )
    )
    connection.execute(update(drives).where(drives.c.id == drive).values(root=root))
    return drive


def find_user(connection: Connection, name: str) -> User | None:
    row = connection.execute(_USERS.where(users.c.name == name)).one_or_none()
    return None if row is None else User(*row)


def set_password_hash(connection: Connection, user: int, password_hash: str, *, end_sessions: bool) -> None:
    """NotFound."""
    if connection.execute(update(users).where(users.c.id == user).values(password_hash=password_hash)).rowcount != 1:
        raise NotFound("there is no such user")
    if end_sessions:
        connection.execute(delete(sessions).where(sessions.c.user == user))


def profile(connection: Connection, user: int) -> Profile:
    """NotFound."""
    row = connection.execute(_PROFILE, {"user": user}).one_or_none()
    if row is None:
        raise NotFound("there is no such user")
    return Profile(*row)


# --- sessions -----------------------------------------------------------------------------------------------------


def open_session(
    connection: Connection, token_hash: bytes, user: int | None, csrf: str, *, now_ns: int, lifetime_seconds: float
) -> None:
    connection.execute(
        insert(sessions).values(
            token_hash=token_hash,
            user=user,
            csrf=csrf,
            created_ns=now_ns,
            expires_ns=now_ns + int(lifetime_seconds * _SECOND_NS),
            seen_ns=now_ns,
        )
    )


def find_session(connection: Connection, token_hash: bytes, now_ns: int) -> tuple[Session, bool] | None:
    """The session, and whether it is time to write down that it was seen."""
    row = connection.execute(_SESSION, {"token_hash": token_hash, "now_ns": now_ns}).one_or_none()
    if row is None:
        return None
    return Session(*row[:-1]), now_ns - row.seen_ns > SEEN_SECONDS * _SECOND_NS


def mark_seen(connection: Connection, token_hash: bytes, now_ns: int) -> None:
    connection.execute(update(sessions).where(sessions.c.token_hash == token_hash).values(seen_ns=now_ns))


def end_session(connection: Connection, token_hash: bytes) -> None:
    connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


# --- failed logins ------------------------------------------------------------------------------------------------


def record_failed_login(connection: Connection, user_name: str, address: str, now_ns: int) -> None:
    connection.execute(
        insert(login_failures).values(user_name=_fitting(user_name), address=_fitting(address), at_ns=now_ns)
    )


def record_login(connection: Connection, user_name: str) -> None:
    """A right password: nobody is guessing this name. Addresses go on counting: one may try many names."""
    connection.execute(
        update(login_failures).where(login_failures.c.user_name == _fitting(user_name)).values(user_name=None)
    )


def login_delay(connection: Connection, user_name: str, address: str, now_ns: int) -> float:
    """Seconds; see `throttle`."""
    since_ns = int(now_ns - throttle.WINDOW_SECONDS * _SECOND_NS)
    ages = []
    for column, value in ((login_failures.c.user_name, user_name), (login_failures.c.address, address)):
        query = (
            select(login_failures.c.at_ns)
            .where(column == _fitting(value), login_failures.c.at_ns > since_ns)
            .order_by(login_failures.c.at_ns.desc())
            .limit(FAILURES_COUNTED)
        )
        ages.append([(now_ns - at_ns) / _SECOND_NS for at_ns in connection.execute(query).scalars()])
    return throttle.login_delay(*ages)


def _fitting(text: str) -> str:
    """Whatever came over the wire, as the column can hold it."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")[:255]
