"""The server's metadata: accounts, drives, and every change of them, in one database.

Who uses: the server's routes, from worker threads. All methods are synchronous, thread safe, and durable when they
return: after kill -9 and after a power cut, what was answered is there. What they decide is in the modules they call;
this one opens the database and hands out transactions.

Concurrency: any number of readers, each in one snapshot; one writer at a time. Content itself is not here: `apply` is
told digests of content that is already durable, and `expire` tells which digests nothing refers to any more.
Errors: kinds of `bitcasafs.errors`; Busy when the database cannot answer now, NoSpace when its disk is full.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from sqlalchemy.exc import DatabaseError

from bitcasafs.clock import Clock
from bitcasafs.errors import BitcasaError, ConfigError
from bitcasafs.server.metadata import accounts, batch, contents, expiry, listing, migrations
from bitcasafs.server.metadata.engine import Database, translated
from bitcasafs.server.metadata.interface import (
    Applied,
    Column,
    Expired,
    FolderPage,
    Request,
    Session,
    StoredVersion,
    User,
)
from bitcasafs.server.metadata.tokens import Tokens
from bitcasafs.server.metadata.view import View, Where
from bitcasafs.values.items import Cursor, Item, Listing, Profile


class Metadata:
    """Made by `open`."""

    def __init__(self, database: Database, tokens: Tokens, clock: Clock) -> None:
        self.database = database
        """For housekeeping and tests: whoever else writes here knows `schema`."""
        self._tokens = tokens
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, clock: Clock) -> Metadata:
        """`url` as SQLAlchemy has it (`sqlite:////data/metadata.db`). Creates what is missing, migrates what is old.

        ConfigError: made by a newer program, not a database of ours, or it cannot be opened."""
        database = Database(url)
        try:
            with database.writing() as connection:
                migrations.prepare(connection)
            with database.reading() as connection:
                tokens = Tokens(migrations.secret(connection))
        except (BitcasaError, DatabaseError) as error:
            database.close()
            if isinstance(error, BitcasaError):
                raise
            raise ConfigError(f"the metadata cannot be read: {error.orig}") from error
        return cls(database, tokens, clock)

    def close(self) -> None:
        """Idempotent. Listings that are still read go on to their end."""
        self.database.close()

    # --- accounts -------------------------------------------------------------------------------------------------

    def add_user(
        self,
        name: str,
        password_hash: str,
        *,
        email: str = "",
        first_name: str = "",
        last_name: str = "",
        quota_bytes: int | None = None,
    ) -> int:
        """A user with an empty drive; answers the user's number. Exists; NameInvalid."""
        with self.database.writing() as connection:
            return accounts.add_user(
                connection,
                name,
                password_hash,
                email=email,
                first_name=first_name,
                last_name=last_name,
                quota_bytes=quota_bytes,
                now_ns=self._clock.wall_ns(),
            )

    def user(self, name: str) -> User | None:
        with self.database.reading() as connection:
            return accounts.find_user(connection, name)

    def set_password_hash(self, user: int, password_hash: str, *, end_sessions: bool = False) -> None:
        """`end_sessions`: whoever is logged in has to log in again. NotFound."""
        with self.database.writing() as connection:
            accounts.set_password_hash(connection, user, password_hash, end_sessions=end_sessions)

    def open_session(self, token_hash: bytes, user: int | None, csrf: str, *, lifetime_seconds: float) -> None:
        """A new session; `user` None: not logged in yet. `token_hash`: sha256 of a random token never used before."""
        now_ns = self._clock.wall_ns()
        with self.database.writing() as connection:
            accounts.open_session(connection, token_hash, user, csrf, now_ns=now_ns, lifetime_seconds=lifetime_seconds)

    def session(self, token_hash: bytes) -> Session | None:
        """None: there is none, or it has expired. One query, and now and then a write that says when it was used."""
        now_ns = self._clock.wall_ns()
        with self.database.reading() as connection:
            found = accounts.find_session(connection, token_hash, now_ns)
        if found is None:
            return None
        session, was_seen = found
        if was_seen:
            with self.database.writing() as connection:
                accounts.mark_seen(connection, token_hash, now_ns)
        return session

    def rotate_session(
        self, old_hash: bytes | None, new_hash: bytes, user: int, csrf: str, *, lifetime_seconds: float
    ) -> None:
        """At login: the old session (which need not exist) ends and the new one begins, in one transaction. With the
        same hash twice the session is kept under its token (the historical setting)."""
        now_ns = self._clock.wall_ns()
        with self.database.writing() as connection:
            if old_hash is not None:
                accounts.end_session(connection, old_hash)
            accounts.open_session(connection, new_hash, user, csrf, now_ns=now_ns, lifetime_seconds=lifetime_seconds)

    def end_session(self, token_hash: bytes) -> None:
        """Idempotent."""
        with self.database.writing() as connection:
            accounts.end_session(connection, token_hash)

    def record_failed_login(self, user_name: str, address: str) -> None:
        """`user_name` as it was typed, `address` as the server saw it."""
        now_ns = self._clock.wall_ns()
        with self.database.writing() as connection:
            accounts.record_failed_login(connection, user_name, address, now_ns)

    def record_login(self, user_name: str) -> None:
        """A right password: the failures of this name are forgotten (those of addresses are not)."""
        with self.database.writing() as connection:
            accounts.record_login(connection, user_name)

    def login_delay(self, user_name: str, address: str) -> float:
        """Seconds until another password for this name or from this address is looked at; 0: now."""
        now_ns = self._clock.wall_ns()
        with self.database.reading() as connection:
            return accounts.login_delay(connection, user_name, address, now_ns)

    # --- reading --------------------------------------------------------------------------------------------------

    def profile(self, user: int) -> Profile:
        """With the exact quota, used bytes and files. NotFound."""
        with self.database.reading() as connection:
            return accounts.profile(connection, user)

    def roots(self, user: int) -> Listing:
        """The drive first, then mirrors by name."""
        with self.database.reading() as connection:
            view = View(connection, user, self._tokens)
            items = tuple(view.item(view.node(drive.root), None) for drive in view.drives.values())
            return Listing(items, _cursor(view))

    def drive_path(self, user: int) -> str:
        """`/` and 64 hex digits."""
        with self.database.reading() as connection:
            return f"/{View(connection, user, self._tokens).drive.public}"

    def find(self, user: int, where: Where) -> Item:
        """NotFound, NotFolder (a file within the path), Ambiguous; Forbidden for `/`."""
        with self.database.reading() as connection:
            view = View(connection, user, self._tokens)
            spot = view.spot(where)
            return view.item(spot.node, spot.entry)

    def list_folder(
        self,
        user: int,
        where: Where,
        *,
        top: int | None = None,
        bottom: int | None = None,
        sort_column: Column | str = Column.NAME,
        ascending: bool = True,
    ) -> FolderPage:
        """Rows [top, bottom) of a folder; None: from the first, to the last. Consume `items` whole, or close it.

        An unknown `sort_column` sorts by name. NotFound, NotFolder; Forbidden for `/` (`roots`)."""
        column = sort_column if isinstance(sort_column, Column) else _COLUMNS.get(sort_column, Column.NAME)
        start = max(top or 0, 0)
        stop = None if bottom is None else max(bottom, start)
        connection = self.database.open_reading()
        try:
            with translated():
                # The cursor comes with the view's first query, and the snapshot begins there: it is no later.
                view = View(connection, user, self._tokens)
                folder = view.folder(where)
                name = view.name(folder)
                total = None if top is None and bottom is None else listing.count(connection, folder)
                rows = listing.select_rows(connection, folder, start, stop, column, ascending=ascending)
                items = listing.FolderItems(connection, rows, view, folder, self._tokens)
        except BaseException:
            connection.close()
            raise
        if total is None:
            return FolderPage(name, None, 0, None, items, _cursor(view))
        start = min(start, total)
        end = total if stop is None else min(stop, total)
        return FolderPage(name, total, start, max(end, start), items, _cursor(view))

    def content(self, user: int, file_id: str, version: str | None = None) -> StoredVersion:
        """By an item's `id`, or another version of the same file. NotFound; VersionGone: it was, and is not kept."""
        with self.database.reading() as connection:
            return contents.content(connection, self._tokens, user, file_id, version)

    # --- changing -------------------------------------------------------------------------------------------------

    def apply(
        self, user: int, requests: Sequence[Request], *, touch_parent: bool = False
    ) -> Generator[Applied, None, None]:
        """One Applied a request, in order; each is durable when it comes, with all before it.

        Groups of up to 128 share a transaction. Who stops iterating leaves the groups that have not begun undone.
        `touch_parent`: set the mtime of changed folders to now (for part-1 clients). Raises NotFound for an unknown
        user and nothing else; what else goes wrong is told by each Applied."""
        return batch.apply(self.database, self._tokens, self._clock, user, requests, touch=touch_parent)

    # --- housekeeping ---------------------------------------------------------------------------------------------

    def expire(self) -> Expired:
        """Drop what is past its keeping; every hour or so. What to do with the digests is said in `expiry`."""
        return expiry.expire(self.database, self._clock.wall_ns())

    def unreferenced(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of `digests` that no version has, current or kept: for a sweep over the content store (`expiry`)."""
        with self.database.reading() as connection:
            return set(digests) - contents.referenced(connection, digests)

    def content_deleted(self, digests: Sequence[bytes]) -> None:
        """The content store no longer has these, which `expire` named. Idempotent."""
        with self.database.writing() as connection:
            expiry.content_deleted(connection, digests)


_COLUMNS = {column.value: column for column in Column}


def _cursor(view: View) -> Cursor:
    return Cursor(str(view.drive.cursor))
