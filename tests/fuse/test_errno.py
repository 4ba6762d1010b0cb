"""Each kind of failure has its errno, and nothing unforeseen passes for something else."""

from __future__ import annotations

import errno
import inspect
import logging

import pytest

from bitcasafs import errors
from bitcasafs.errors import BitcasaError
from bitcasafs.fuse.errno import ANSWERS, UNKNOWN, Answer, answer, single_cause

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BitcasaError)]


def test_every_kind_of_error_stands_in_the_table() -> None:
    assert set(ANSWERS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_answer_is_an_errno_that_the_system_knows(kind: type[BitcasaError]) -> None:
    assert ANSWERS[kind].errno in errno.errorcode
    assert answer(kind("text")) == ANSWERS[kind]


def test_no_kind_is_answered_enosys() -> None:
    assert errno.ENOSYS not in {row.errno for row in ANSWERS.values()}


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (errors.NotFound, errno.ENOENT),
        (errors.Exists, errno.EEXIST),
        (errors.NotEmpty, errno.ENOTEMPTY),
        (errors.IsFolder, errno.EISDIR),
        (errors.NotFolder, errno.ENOTDIR),
        (errors.Loop, errno.EINVAL),
        (errors.VersionGone, errno.ESTALE),
        (errors.TooLarge, errno.EFBIG),
        (errors.NameInvalid, errno.EINVAL),
        (errors.NameNotUtf8, errno.EILSEQ),
        (errors.QuotaExceeded, errno.EDQUOT),
        (errors.ReadOnly, errno.EROFS),
        (errors.Forbidden, errno.EACCES),
        (errors.NotPermitted, errno.EPERM),
        (errors.Unsupported, errno.EOPNOTSUPP),
        (errors.TimedOut, errno.ETIMEDOUT),
        (errors.Unreachable, errno.ENETUNREACH),
        (errors.Busy, errno.EIO),
        (errors.ProtocolError, errno.EIO),
        (errors.NoSpace, errno.ENOSPC),
        (errors.NoAttribute, errno.ENODATA),
        (errors.Stale, errno.ESTALE),
        (errors.BadHandle, errno.EBADF),
    ],
)
def test_what_the_protocol_and_the_design_name(kind: type[BitcasaError], number: int) -> None:
    assert answer(kind("text")).errno == number


def test_a_kind_that_is_missing_is_answered_as_the_one_above_it() -> None:
    class Special(errors.NotEmpty):
        pass

    assert answer(Special("text")).errno == errno.ENOTEMPTY


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_what_our_disk_says_of_space_and_health_is_passed_on(number: int) -> None:
    assert answer(OSError(number, "disk")) == Answer(number, logging.WARNING)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "staged"), PermissionError(13, "staged"), ValueError(), OSError()]
)
def test_what_is_a_fault_of_ours_is_eio(error: Exception) -> None:
    assert answer(error) is UNKNOWN
    assert UNKNOWN.errno == errno.EIO


def test_a_group_with_one_error_is_that_error() -> None:
    cause = errors.NotFound("gone")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [cause])])
    assert single_cause(group) is cause
    assert answer(group).errno == errno.ENOENT


def test_a_group_with_several_errors_is_a_fault() -> None:
    assert answer(ExceptionGroup("both", [errors.NotFound("a"), errors.Exists("b")])) is UNKNOWN
