"""The tables, each column with its meaning, sentinel and invariant.

Portable: nothing here is of one database but the collation of names, which is byte order in both. Times are
nanoseconds since the epoch (`_ns`). A change of anything here is a step in `migrations`.

Numbers of nodes and versions are `drive * 2**40 + serial`: the drive's row, which every change locks anyway, hands
them out, so rows can be written in bulk and those of one drive lie together. They never leave the server; `token`
does, and is random, so that nobody learns from it how much others store.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

SERIAL_BITS = 40
"""8 million drives of a million million nodes and versions each."""

# Byte order, so that names differ exactly when their bytes do (protocol 2.7). SQLite's own default is that; it is said
# for PostgreSQL, whose default follows the locale and may take two different names for equal.
_NAME = String(255).with_variant(String(255, collation="C"), "postgresql")

tables = MetaData()

settings = Table(
    "settings",
    tables,
    # `schema`: the version of these tables, decimal. `secret`: 64 hex digits, signs the ids of files; never changes.
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

users = Table(
    "users",
    tables,
    Column("id", Integer, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    # argon2's own string, with its parameters and salt.
    Column("password_hash", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    # Most bytes of current content; NULL: no limit.
    Column("quota_bytes", BigInteger),
    Column("created_ns", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    tables,
    # sha256 of the cookie: who reads the database cannot use it.
    Column("token_hash", LargeBinary(32), primary_key=True),
    # NULL: not logged in yet.
    Column("user", ForeignKey("users.id", ondelete="CASCADE")),
    Column("csrf", String(64), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    # From this moment on it is as if it were not there.
    Column("expires_ns", BigInteger, nullable=False),
    # The last use, exact to `accounts.SEEN_SECONDS`.
    Column("seen_ns", BigInteger, nullable=False),
    Index("sessions_user", "user"),
    Index("sessions_expires", "expires_ns"),
)

login_failures = Table(
    "login_failures",
    tables,
    Column("id", Integer, primary_key=True),
    # As it was typed, whether or not there is such a user: an answer must not tell. NULL: that user has logged in
    # since, and the failure counts for the address alone.
    Column("user_name", _NAME),
    # The client's address as the server saw it.
    Column("address", String(255), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Index("login_failures_user", "user_name", "at_ns"),
    Index("login_failures_address", "address", "at_ns"),
    Index("login_failures_at", "at_ns"),
)

drives = Table(
    "drives",
    tables,
    Column("id", Integer, primary_key=True),
    # 64 hex digits: the first part of every path.
    Column("public", String(64), nullable=False, unique=True),
    Column("user", ForeignKey("users.id"), nullable=False),
    # A value of RootKind. Exactly one "infinite drive" a user, the only one that can be changed.
    Column("kind", String(16), nullable=False),
    Column("name", _NAME, nullable=False),
    # The node that is the drive itself; it has no entry. No foreign key: nodes refer to drives.
    Column("root", BigInteger, nullable=False),
    # The number of the last change. A transaction that changes the drive begins by counting it up: the row's lock is
    # what orders changes by commit (protocol 2.1).
    Column("cursor", BigInteger, nullable=False),
    # The last serial handed out to a node or a version.
    Column("serial", BigInteger, nullable=False),
    # Sum of the sizes, and number, of the files that are there now; kept by each change in its transaction.
    Column("used_bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    # Changes up to this cursor are no longer kept; 0: all are.
    Column("forgotten", BigInteger, nullable=False),
    Index("drives_user", "user"),
)

nodes = Table(
    "nodes",
    tables,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    # `node` on the wire: 22 characters, never reused.
    Column("token", String(22), nullable=False, unique=True),
    Column("drive", ForeignKey("drives.id"), nullable=False),
    # What is not a folder is of type 0; `symlink` and `special` say what kind of.
    Column("folder", Boolean, nullable=False),
    # Begins at 1 and grows with every change of the item.
    Column("revision", BigInteger, nullable=False),
    # The current content: not NULL exactly for files, links and special ones. Once the node is deleted: the last one.
    # No foreign key, whose check would want an index here that nothing else uses; versions refer to nodes.
    Column("version", BigInteger),
    # Attributes, NULL where nobody gave any (`values.items.Attributes`). mtime and ctime are always known.
    Column("mode", Integer),
    Column("uid", BigInteger),
    Column("gid", BigInteger),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("atime_ns", BigInteger),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("btime_ns", BigInteger),
    # The text of a link; its version is empty. Never together with `special`, never on a folder.
    Column("symlink", Text),
    Column("special", String(16)),
    # JSON of names to base64, as on the wire; NULL: none.
    Column("xattrs", Text),
    # The number of entries that lead here: 1 but for hard links; of the drive itself and of deleted ones it is 1 too.
    Column("nlink", Integer, nullable=False),
    # NULL: it is there. Else since when it is not; everything below a deleted folder has the same moment, and keeps its
    # entries, so that the whole could be brought back.
    Column("deleted_ns", BigInteger),
)
_DELETED = text("deleted_ns IS NOT NULL")
Index("nodes_deleted", nodes.c.deleted_ns, sqlite_where=_DELETED, postgresql_where=_DELETED)

entries = Table(
    "entries",
    tables,
    # A folder. The parents of a node that is there are there, up to the drive's root.
    Column("parent", ForeignKey("nodes.id"), primary_key=True, autoincrement=False),
    Column("name", _NAME, primary_key=True),
    # A folder has exactly one entry, a file one or more (hard links), all in one drive.
    Column("node", ForeignKey("nodes.id"), nullable=False),
    Index("entries_node", "node"),
    # A listing is one stretch of the primary key: keep the rows in it.
    sqlite_with_rowid=False,
)

versions = Table(
    "versions",
    tables,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    # `version` on the wire, 22 characters: base64url of 16 random bytes; with a signature it is the file's `id`.
    Column("token", String(22), nullable=False, unique=True),
    Column("node", ForeignKey("nodes.id"), nullable=False),
    # sha256: where the content store has it. Empty content is never stored.
    Column("digest", LargeBinary(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # hex
    Column("md5", String(32), nullable=False),
    # By the name it came under; while it is current, the present name decides.
    Column("mime", String(255), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    # NULL: the current content of a node that is there. Else since when it is not.
    Column("replaced_ns", BigInteger),
    Index("versions_node", "node"),
    Index("versions_digest", "digest"),
)
_REPLACED = text("replaced_ns IS NOT NULL")
Index("versions_replaced", versions.c.replaced_ns, sqlite_where=_REPLACED, postgresql_where=_REPLACED)

changes = Table(
    "changes",
    tables,
    Column("drive", ForeignKey("drives.id"), primary_key=True, autoincrement=False),
    # 1, 2, 3, ... in the order of commits; numbers may be missing.
    Column("cursor", BigInteger, primary_key=True, autoincrement=False),
    # No foreign keys: the history outlives its nodes. `parent` and `name` are the entry; NULL for the drive itself.
    Column("node", BigInteger, nullable=False),
    Column("parent", BigInteger),
    Column("name", _NAME),
    # "put": the entry leads to the node, whose state is what the tables say now. "gone": it does not any more, and what
    # was below it went with it.
    Column("kind", String(4), nullable=False),
    # The path before a move, whole; NULL: not a move.
    Column("from_path", Text),
    # Who did it can tell its own change by this; NULL: no key.
    Column("key", String(64)),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

answers = Table(
    "answers",
    tables,
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("key", String(64), primary_key=True),
    # `Request.fingerprint` of the request that was answered so.
    Column("fingerprint", String(128), nullable=False),
    # 200 or 201: failures are not kept.
    Column("status", Integer, nullable=False),
    # The item as the wire has it, JSON; NULL: there is none after a delete.
    Column("item", Text),
    Column("cursor", BigInteger, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Index("answers_created", "created_ns"),
    sqlite_with_rowid=False,
)

discarded = Table(
    "discarded",
    tables,
    # Content whose last version was dropped, and which the content store may still have (`expiry`). A version may
    # have come to refer to it again since.
    Column("digest", LargeBinary(32), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
)
