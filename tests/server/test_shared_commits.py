from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bitcasafs.errors import NotFound
from bitcasafs.server.metadata.interface import Applied, Request
from bitcasafs.server.shared_commits import SharedCommits
from bitcasafs.values.items import Address, Cursor
from bitcasafs.values.operations import Delete


def request(number: int) -> Request:
    return Request(Delete(Address(f"/{number}")))


class SlowMetadata:
    """Remembers each call; the first one lasts until `go`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[int, list[Request], bool]] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self._error = error

    def apply(self, user: int, requests: Sequence[Request], *, touch_parent: bool = False) -> Iterator[Applied]:
        self.calls.append((user, list(requests), touch_parent))
        self.begun.set()
        assert self.go.wait(30)
        if self._error is not None:
            raise self._error
        return iter([Applied(200, cursor=Cursor(str(one.operation))) for one in requests])


Submit = Callable[[int, int], "Future[Applied]"]


def while_the_first_is_applied(metadata: SlowMetadata, later: Callable[[Submit], Sequence[Future[Applied]]]) -> None:
    """The change 0 of user 1 is being applied while `later` submits others; then all go on to their end."""
    commits = SharedCommits(metadata)
    with ThreadPoolExecutor(16) as pool:

        def submit(user: int, number: int) -> Future[Applied]:
            return pool.submit(commits.apply, user, request(number))

        first = submit(1, 0)
        assert metadata.begun.wait(30)
        others = later(submit)
        while commits.waiting < len(others):
            os.sched_yield()
        metadata.go.set()
        for future in (first, *others):
            future.exception(30)


def test_changes_that_wait_for_another_share_the_next_transaction_and_get_their_own_answers() -> None:
    metadata = SlowMetadata()
    futures: list[Future[Applied]] = []

    def later(submit: Submit) -> Sequence[Future[Applied]]:
        futures.extend(submit(1, number) for number in range(1, 6))
        return futures

    while_the_first_is_applied(metadata, later)
    assert [len(requests) for _, requests, _ in metadata.calls] == [1, 5]
    told = [future.result().cursor for future in futures]
    assert told == [str(request(number).operation) for number in range(1, 6)]


def test_changes_of_different_users_are_never_in_one_transaction() -> None:
    metadata = SlowMetadata()
    while_the_first_is_applied(metadata, lambda submit: [submit(user, user) for user in (1, 2, 2, 3)])
    assert sorted((user, len(requests)) for user, requests, _ in metadata.calls[1:]) == [(1, 1), (2, 2), (3, 1)]


def test_an_error_of_the_transaction_is_everybodys_and_the_next_one_goes_on() -> None:
    metadata = SlowMetadata(NotFound("there is no such user"))
    futures: list[Future[Applied]] = []

    def later(submit: Submit) -> Sequence[Future[Applied]]:
        futures.extend(submit(1, number) for number in range(1, 4))
        return futures

    while_the_first_is_applied(metadata, later)
    assert len(metadata.calls) == 2
    for future in futures:
        with pytest.raises(NotFound):
            future.result()
