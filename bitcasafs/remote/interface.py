"""What holds the drive, as the mount sees it: one interface, several adapters.

Who implements: `remote.memory` (a real one, for tests), `remote.portal` (our server or a historical portal). Who
uses: the mount's listings, reading and writing; the transfer commands. Wrappers (`retry`, `limit`, `timing`) implement
the same Protocol and are stacked in `remote.open` alone.

Contract, run on every implementation by tests/contracts/test_remote.py:
- All methods may wait and may be cancelled at any wait; a cancelled change may or may not have taken effect.
- Raises only kinds of `bitcasafs.errors`: `Refused` and below for a no, `Unavailable` and below for what may go better
  next time (`applied` says whether a change may have happened), `ProtocolError` for nonsense, `LoginRefused`.
- A change is atomic; a name or a content is never seen half made.
- A change whose outcome is unknown may be asked for again under the same key: with `batch` always, without it as long
  as this remote lives (what is then found done counts as done by it).
- What a portal cannot do at all raises `Unsupported` before anything is sent; `capabilities` says so beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bitcasafs.errors import BitcasaError
from bitcasafs.values.items import Address, Cursor, Item, Listing, Profile, Version
from bitcasafs.values.operations import Operation, Place, Put


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this remote can do, and its limits. A historical portal has the defaults."""

    versions: bool = False
    """Items carry node, version and digests; `if_match` and OVERWRITE are atomic."""
    attributes: bool = False
    """mode, owner, times, symlinks and xattrs are kept."""
    batch: bool = False
    """Many changes in one request; idempotency keys are honoured, so every change may be repeated."""
    quota: bool = False
    """`Profile.quota_bytes`, `used_bytes` and `files` are exact."""
    batch_operations: int = 1
    """Most operations in one `apply`."""
    batch_bytes: int = 0
    """Most content bytes in one `apply`."""
    file_bytes: int | None = None
    """Largest file; None: not known."""


@dataclass(frozen=True, slots=True)
class ContentRef:
    """One content to fetch: exactly these bytes or an error, never another version's."""

    id: str
    """The item's `id` (part 1 downloads by it)."""
    size_bytes: int
    version: Version | None = None


Sink = Callable[[int, bytes], None]
"""`sink(offset, data)`: called in order with consecutive pieces, synchronously, as they arrive. May raise to stop."""


class Source(Protocol):
    """Bytes to send, fixed while they are sent, readable again from the start for a repeat."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes:
        """Exactly [start, stop); called from the event loop, at most 1 MiB at a time. OSError when it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class ReplaceStep:
    """How far replacing a file got on a portal that cannot overwrite (upload aside, delete, rename).

    The caller keeps the newest step durably and hands it back to `store` after a crash; see `remote.historical`.
    """

    upload_name: str
    uploaded: bool
    deleted: bool


class Remote(Protocol):
    @property
    def capabilities(self) -> Capabilities:
        """Known after the first successful call; before it, the historical defaults."""
        ...

    async def connect(self) -> Capabilities:
        """Discover and log in. Idempotent; every other method does it when needed."""
        ...

    async def profile(self) -> Profile: ...

    async def roots(self) -> Listing:
        """The portal's roots: the drive first, then read-only mirrors."""
        ...

    async def list(self, folder: Address) -> Listing:
        """All items of a folder, whole. NotFound, NotFolder. Names like `.NAME.HASH.upload` are left out."""
        ...

    async def look(self, target: Address | Place) -> Item:
        """An item as it is now: by identity where the address has one, else by path, or what has a name in a folder.
        NotFound. For single questions: it may cost as much as a listing.
        """
        ...

    async def fetch(self, content: ContentRef, start: int, stop: int, sink: Sink) -> None:
        """Bytes [start, stop) of one version, in order, into `sink`; returns when all arrived.

        Raises VersionGone or NotFound when that content is gone, VersionMismatch when the name leads to another,
        Truncated when the body was short (after handing on what came). Safe to repeat from where it stopped.
        """
        ...

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Item:
        """Send one file, whole or not at all; answers the new item.

        `put.parent` is an Address here, never `Made`. Exists (FAIL and the name is taken), VersionMismatch
        (`if_match`), IsFolder, NotFound (parent), QuotaExceeded, TooLarge. `progress` is told the bytes sent so far.
        With `batch` repeating with the same key is safe; without, `Unavailable.applied` is None when the outcome is
        unknown. OSError is the source's own and passes through. `on_step` is called
        (synchronously) after each step of a replacement where overwrite is not atomic.
        """
        ...

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        """Carry out operations in order, each atomic; one that fails stops nothing but those that name it.

        A Source stands beside each Put and nowhere else. One Outcome an operation, in order. An error of the whole
        request (not of one operation) is raised. On a remote without `batch` the operations are sent one by one.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one operation of `apply`: `item` after it (None after a delete), or `error`."""

    item: Item | None = None
    error: BitcasaError | None = None
    current: Item | None = None
    """With an error: the present item, where the portal told of it (412, 409)."""
    cursor: Cursor | None = None
