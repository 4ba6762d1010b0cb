"""What the parts of the contract of `Remote` stand on: the fixtures to provide, and single operations."""

from __future__ import annotations

import secrets

import pytest

from bitcasafs.remote.interface import Outcome, Remote, Source
from bitcasafs.values.items import Address, Item
from bitcasafs.values.operations import (
    Mkdir,
    OnExisting,
    Operation,
)

FAIL, OVERWRITE, RENAME, MERGE, EXCHANGE = (
    OnExisting.FAIL,
    OnExisting.OVERWRITE,
    OnExisting.RENAME,
    OnExisting.MERGE,
    OnExisting.EXCHANGE,
)


async def outcome_of(remote: Remote, operation: Operation, source: Source | None = None) -> Outcome:
    (outcome,) = await remote.apply([(operation, source)])
    return outcome


async def done(remote: Remote, operation: Operation, source: Source | None = None) -> Item | None:
    """The item after the operation; its error is raised."""
    outcome = await outcome_of(remote, operation, source)
    if outcome.error is not None:
        raise outcome.error
    return outcome.item


async def folder(remote: Remote, parent: Address, name: str) -> Item:
    made = await done(remote, Mkdir(parent, name))
    assert made is not None
    return made


class RemoteFixtures:
    @pytest.fixture
    async def remote(self) -> Remote:
        raise NotImplementedError

    @pytest.fixture
    async def home(self, remote: Remote) -> Address:
        """A folder of this test alone."""
        (drive, *_) = (await remote.roots()).items
        return (await folder(remote, drive.address, f"home {secrets.token_hex(8)}")).address
