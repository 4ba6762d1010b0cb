"""The kinds of failure that the rest of the program acts on.

Who raises: every package. Who acts: `fuse.errno` maps each kind to one errno, `dialects.refusals` maps each to the
wire's status and code and back, the command line prints `str(error)`. An error says what happened, to what, and carries
what a caller needs to act on; nobody reads the text to decide. New kinds are added only when somebody acts on them.
"""

from __future__ import annotations


class BitcasaError(Exception):
    """Anything that this program foresaw. The text is a sentence for a person."""


# --- what a portal or the drive answers ---------------------------------------------------------------------------


class Refused(BitcasaError):
    """The portal understood the request and said no; asking again changes nothing."""


class NotFound(Refused):
    """No such item (404 `not_found`, `parent_missing`)."""


class Exists(Refused):
    """The name is taken (409 `exists`)."""


class NotEmpty(Refused):
    """A folder that still has items (409 `not_empty`)."""


class IsFolder(Refused):
    """A file was needed, a folder is there (409 `is_folder`)."""


class NotFolder(Refused):
    """A folder was needed, a file is there (409 `not_folder`)."""


class Loop(Refused):
    """A folder cannot move into itself (409 `loop`)."""


class Ambiguous(Refused):
    """The node has several entries and none was named (409 `ambiguous`)."""


class VersionMismatch(Refused):
    """A condition (`if_match`) did not hold: somebody else changed the item (412)."""


class VersionGone(Refused):
    """That version is no longer kept (410 `version_gone`)."""


class BaseGone(Refused):
    """A part of a file was to come from a version that the portal no longer has; the rest is kept as it is."""


class CursorExpired(Refused):
    """The cursor is older than what the portal remembers (410 `cursor_expired`)."""


class PredecessorFailed(Refused):
    """An operation of a batch that names one that failed (424)."""


class NameInvalid(Refused):
    """A name that the drive cannot hold: 1..255 bytes of UTF-8, no `/`, no NUL, not `.` or `..` (422)."""


class NameNotUtf8(NameInvalid):
    """A name whose bytes are not UTF-8 (EILSEQ)."""


class KeyReused(Refused):
    """An idempotency key came again with another request (422 `key_reused`)."""


class TooLarge(Refused):
    """More bytes than the portal takes (413)."""


class RangeInvalid(Refused):
    """A byte range that starts past the end (416)."""


class QuotaExceeded(Refused):
    """The drive is full (507)."""


class Forbidden(Refused):
    """Not allowed for this user (403 `forbidden`)."""


class ReadOnly(Refused):
    """The item cannot be changed by anybody (403 `read_only`): mirrored folders."""


class Malformed(Refused):
    """The portal could not parse our request (400), or answered with a status that the protocol does not know."""


class Unsupported(Refused):
    """This portal has no way to do it (a capability is missing)."""


# --- what may go better next time ---------------------------------------------------------------------------------


class Unavailable(BitcasaError):
    """The portal could not be asked, or could not answer now. Asking again may succeed.

    `applied` says what is known of a change that was asked for: False, it certainly did not take effect; None, it
    may have (the answer was lost). `retry_after_seconds` is the portal's wish, if it had one.
    """

    def __init__(self, message: str, *, applied: bool | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.applied = applied
        self.retry_after_seconds = retry_after_seconds


class Unreachable(Unavailable):
    """No connection: name not resolved, refused, reset, TLS not trusted, a socket that is gone."""


class TimedOut(Unavailable):
    """A phase (connect, first byte, silence between bytes) took longer than it may."""


class Busy(Unavailable):
    """The portal asks to come back later (409 `in_progress`, 429, 502, 503, 504, 500)."""


class Truncated(Unavailable):
    """A body ended before the length it was announced with."""


class ChecksumMismatch(Unavailable):
    """Bytes arrived that do not have the digest they were sent with (460, or seen here)."""


# --- session ------------------------------------------------------------------------------------------------------


class SessionExpired(BitcasaError):
    """401: log in again. Only the session layer sees it."""


class LoginRefused(BitcasaError):
    """The portal did not take the user and password."""


# --- what does not follow the protocol ----------------------------------------------------------------------------


class ProtocolError(BitcasaError):
    """What came is not the protocol: `what` names the message and field, `got` a short form of what came."""

    def __init__(self, what: str, got: object = None) -> None:
        shown = repr(got)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{what}, got {shown}" if got is not None else what)
        self.what = what


# --- this machine -------------------------------------------------------------------------------------------------


class Stale(BitcasaError):
    """A number or handle whose node this mount no longer knows (ESTALE)."""


class NoSpace(BitcasaError):
    """The disk under the staging folder is full (ENOSPC)."""


class Locked(BitcasaError):
    """Another process holds the lock; the text names its pid."""


class ConfigError(BitcasaError):
    """An option, path or file given by the user cannot be used; exit code 1."""


class NoAttribute(BitcasaError):
    """No extended attribute of that name (ENODATA)."""


class CrossDevice(BitcasaError):
    """What stays on this machine and what is on the portal cannot be renamed into each other (EXDEV)."""


class NotPermitted(BitcasaError):
    """Nobody may do that to this item, whatever their rights (EPERM)."""


class BadHandle(BitcasaError):
    """A handle opened for the other direction (EBADF)."""
