"""What an application is told of each kind of failure: one errno a kind, and how loudly the log speaks of it.

Who uses: `guard` alone. Pure. Every kind of `bitcasafs.errors` stands in the table (a test sees to it); a kind that
were missing would be answered as the nearest one above it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from bitcasafs import errors


@dataclass(frozen=True, slots=True)
class Answer:
    """`errno` goes to the application, a line of `level` to the log. `foreseen` is False for what is a fault of
    ours."""

    errno: int
    level: int = logging.DEBUG
    foreseen: bool = True


UNKNOWN = Answer(errno.EIO, logging.ERROR, foreseen=False)

# What applications ask for all day (no such name, name taken) is silent. What says that the network is away is told
# once by the remote, so here it is a debug line too: a walk through ten thousand files offline is not ten thousand
# lines. A portal that answers nonsense, or asks to come back later, is an I/O error to an application:
# EBUSY and EPROTO mean something else to those that know them.
ANSWERS: Mapping[type[errors.BitcasaError], Answer] = {
    errors.BitcasaError: Answer(errno.EIO, logging.WARNING),
    errors.Refused: Answer(errno.EIO, logging.WARNING),
    errors.NotFound: Answer(errno.ENOENT),
    errors.Exists: Answer(errno.EEXIST),
    errors.NotEmpty: Answer(errno.ENOTEMPTY),
    errors.IsFolder: Answer(errno.EISDIR),
    errors.NotFolder: Answer(errno.ENOTDIR),
    errors.Loop: Answer(errno.EINVAL),
    errors.Ambiguous: Answer(errno.EIO, logging.WARNING),
    errors.VersionMismatch: Answer(errno.ESTALE, logging.INFO),
    errors.VersionGone: Answer(errno.ESTALE, logging.INFO),
    errors.BaseGone: Answer(errno.EIO, logging.WARNING),
    errors.CursorExpired: Answer(errno.EIO, logging.WARNING),
    errors.PredecessorFailed: Answer(errno.EIO, logging.WARNING),
    errors.NameInvalid: Answer(errno.EINVAL),
    errors.NameNotUtf8: Answer(errno.EILSEQ),
    errors.KeyReused: Answer(errno.EIO, logging.WARNING),
    errors.TooLarge: Answer(errno.EFBIG, logging.INFO),
    errors.RangeInvalid: Answer(errno.EIO, logging.WARNING),
    errors.QuotaExceeded: Answer(errno.EDQUOT, logging.INFO),
    errors.Forbidden: Answer(errno.EACCES),
    errors.ReadOnly: Answer(errno.EROFS),
    errors.Malformed: Answer(errno.EIO, logging.WARNING),
    errors.Unsupported: Answer(errno.EOPNOTSUPP),
    errors.Unavailable: Answer(errno.EIO),
    errors.Unreachable: Answer(errno.ENETUNREACH),
    errors.TimedOut: Answer(errno.ETIMEDOUT),
    errors.Busy: Answer(errno.EIO),
    errors.Truncated: Answer(errno.EIO, logging.INFO),
    errors.ChecksumMismatch: Answer(errno.EIO, logging.WARNING),
    errors.SessionExpired: Answer(errno.EIO, logging.WARNING),
    errors.LoginRefused: Answer(errno.EACCES, logging.WARNING),
    errors.ProtocolError: Answer(errno.EIO, logging.WARNING),
    errors.Stale: Answer(errno.ESTALE),
    errors.NoSpace: Answer(errno.ENOSPC, logging.WARNING),
    errors.Locked: Answer(errno.EBUSY),
    errors.ConfigError: Answer(errno.EIO, logging.WARNING),
    errors.NoAttribute: Answer(errno.ENODATA),
    errors.CrossDevice: Answer(errno.EXDEV),
    errors.NotPermitted: Answer(errno.EPERM),
    errors.BadHandle: Answer(errno.EBADF),
}

# What our own disk says that is true of the application's request as well. Any other errno of ours (a staged file that
# is not there) would be a lie about the application's file, so it is EIO and a fault.
_OF_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)


def answer(error: BaseException) -> Answer:
    """The answer to `error`; of a group with a single error in it, the answer to that one."""
    cause = single_cause(error)
    if isinstance(cause, errors.BitcasaError):
        return next(ANSWERS[kind] for kind in type(cause).__mro__ if kind in ANSWERS)
    if isinstance(cause, OSError) and cause.errno in _OF_THE_DISK:
        return Answer(cause.errno, logging.WARNING)
    return UNKNOWN


def single_cause(error: BaseException) -> BaseException:
    """The one error in a group, in whatever depth; the group itself when there are several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
