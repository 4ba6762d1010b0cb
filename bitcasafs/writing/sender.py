"""One change as a request to the remote: computes paths, fills holes, sends, answers the item.

Nothing is kept here. Which change goes when is `order` and `scheduler`; what its outcome means is `scheduler`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from bitcasafs.errors import (
    BitcasaError,
    Exists,
    NoSpace,
    NotFound,
    ProtocolError,
    Refused,
    Unavailable,
)
from bitcasafs.remote.interface import ContentRef, Remote, ReplaceStep, Sink, Source
from bitcasafs.values.items import Address, AttributeChange, Attributes, Item, Version
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Operation, Place, Put, SetAttributes, Symlink
from bitcasafs.writing.change import ChangeKind, Fields, Number, Record
from bitcasafs.writing.contents import Contents, base_of
from bitcasafs.writing.digest import md5_inline, md5_of
from bitcasafs.writing.staging import StagedFile

log = logging.getLogger(__name__)


class Places(Protocol):
    """Where nodes are on the portal at this moment; filled by the vfs, which keeps the tree."""

    def address(self, node: Number) -> Address | None:
        """None: the node is not on the portal."""
        ...

    def place(self, node: Number) -> tuple[Address, str] | None:
        """The folder and name that lead to the node on the portal."""
        ...

    def spot(self, node: Number) -> tuple[Number, str] | None:
        """The same in this mount's numbers."""
        ...


@dataclass(frozen=True, slots=True)
class StagedSource:
    """A `remote.interface.Source` over a staged file that nobody writes to while it is sent."""

    staged: StagedFile
    size_bytes: int

    def read(self, start: int, stop: int) -> bytes:
        data = self.staged.read(start, stop)
        if len(data) != stop - start:
            raise OSError(errno.EIO, "a staged file is shorter than what was written")
        return data


class Nothing:
    """The content of an empty file."""

    size_bytes = 0

    def read(self, start: int, stop: int) -> bytes:
        return b""


def attribute_change(attributes: Attributes, dropped: Iterable[str] = ()) -> AttributeChange:
    """Set every attribute that is not None, and remove the extended attributes `dropped`."""
    names = [field.name for field in fields(Attributes) if field.name not in ("xattrs", "symlink")]
    values = {name: value for name in names if (value := getattr(attributes, name)) is not None}
    return AttributeChange(values=values, xattrs={**dict.fromkeys(dropped), **attributes.xattrs})


def befallen(error: Exception, record: Record) -> BitcasaError:
    """What befell an attempt to send, as one of our kinds."""
    if isinstance(error, BitcasaError):
        return error
    if isinstance(error, OSError):
        return NoSpace(f"the staging folder: {error.strerror or error}")
    log.error("a change could not be sent: %s", record.change.kind.value, exc_info=error)
    return Refused("an internal error; the log has the details")


class Sender:
    def __init__(
        self,
        remote: Remote,
        contents: Contents,
        places: Places,
        fetch_base: Callable[[ContentRef, int, int, Sink], Awaitable[None]],
    ) -> None:
        """`fetch_base`: bytes of a version that content lies over, as `Remote.fetch`; BaseGone when it is gone."""
        self._remote = remote
        self._contents = contents
        self._places = places
        self._fetch_base = fetch_base

    async def send(self, record: Record, progress: Callable[[int], None]) -> Item | None:
        """Carry out one change on the portal. Waits for the network; raises as `Remote` does. BaseGone: content lies
        over a version that is no longer to be had.
        """
        kind = record.change.kind
        if kind is ChangeKind.CONTENT:
            return await self._send_content(record, progress)
        capabilities = await self._remote.connect()
        if kind is ChangeKind.ATTRIBUTES and not capabilities.attributes:
            return None  # kept on this machine, by whoever is told that it arrived
        if kind is ChangeKind.SYMLINK and not capabilities.attributes:
            await self._look_first(record)
            return await self._remote.store(self._put_of_nothing(record), Nothing())
        outcome = (await self._remote.apply([(self._operation(record), None)]))[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.item

    @property
    def batches(self) -> bool:
        """Several changes may share a request."""
        return self._remote.capabilities.batch

    async def send_together(self, records: Sequence[Record]) -> list[Item | BitcasaError | None]:
        """Carry out several changes, none of which depends on another, in one request; an outcome each. Raises what
        befell the whole request.
        """
        outcomes: list[Item | BitcasaError | None] = [Refused("it was not sent")] * len(records)
        operations: list[tuple[Operation, Source | None]] = []
        places: list[int] = []
        for place, record in enumerate(records):
            try:
                if record.change.kind is ChangeKind.CONTENT:
                    staged = self._staged(record)
                    put = self._put(record, staged, md5_inline(staged))
                    operations.append((put, StagedSource(staged, staged.size_bytes)))
                else:
                    operations.append((self._operation(record), None))
                places.append(place)
            except BitcasaError as error:
                outcomes[place] = error
        answers = await self._remote.apply(operations) if operations else []
        for place, answer in zip(places, answers, strict=True):
            removed = records[place].change.kind is ChangeKind.DELETE
            missing = None if removed else ProtocolError("a batch's answer without an item")
            outcomes[place] = answer.error or answer.item or missing
        return outcomes

    def _staged(self, record: Record) -> StagedFile:
        try:
            return self._contents.staged(record)
        except FileNotFoundError:
            raise Refused(f"the staged file {record.staged} is gone from the staging folder") from None

    def _put(self, record: Record, staged: StagedFile, md5: str | None) -> Put:
        parent, name = self._target(record)
        return Put(
            parent=parent,
            name=name,
            size_bytes=staged.size_bytes,
            exists=self._exists(record),
            if_match=self._if_match(record),
            md5=md5,
            attributes=self._attributes(record.change.fields),
            key=record.key,
        )

    async def _look_first(self, record: Record) -> None:
        """Where no key tells whether a new item has arrived already, it is looked for before it is sent again: else it
        would stand there twice. Exists: something has its name.
        """
        if not record.unsure or self._if_match(record) is not None:
            return
        if (await self._remote.connect()).batch:
            return
        parent, name = self._target(record)
        try:
            await self._remote.look(Place(parent, name))
        except NotFound:
            return
        raise Exists(f"{name} is there")

    def _put_of_nothing(self, record: Record) -> Put:
        parent, name = self._target(record)
        return Put(parent, name, 0, exists=self._exists(record), if_match=self._if_match(record), key=record.key)

    def _exists(self, record: Record) -> OnExisting:
        return OnExisting.FAIL if self._if_match(record) is None else OnExisting.OVERWRITE

    async def _send_content(self, record: Record, progress: Callable[[int], None]) -> Item:
        staged = self._staged(record)
        base = base_of(record)
        for start, stop in staged.holes(0, staged.base_limit):
            assert base is not None
            await self._fetch_base(base, start, min(stop, base.size_bytes), staged.fill)
        await self._look_first(record)
        put = self._put(record, staged, await md5_of(staged) if self._remote.capabilities.versions else None)
        replacing, spot = record.change.fields.replacing, self._places.spot(record.change.node)
        try:
            return await self._remote.store(
                put,
                StagedSource(staged, staged.size_bytes),
                resume=None if replacing is None else ReplaceStep(*replacing),
                on_step=lambda step: self._contents.note_step(record.id, step, spot),
                progress=progress,
            )
        except NotFound:
            if self._target(record) == (put.parent, put.name):
                raise
            # Where a folder has no identity, it is its path, and that changed while the content was on its way.
            raise Unavailable("a folder was renamed meanwhile", applied=False) from None

    def _if_match(self, record: Record) -> Version | None:
        return record.change.base or record.change.fields.over

    def _attributes(self, what: Fields) -> AttributeChange:
        """Nothing for a portal that keeps none: the vfs keeps them on this machine."""
        if not self._remote.capabilities.attributes:
            return AttributeChange()
        return attribute_change(what.attributes, what.dropped)

    def _target(self, record: Record) -> tuple[Address, str]:
        """The folder and name for content or a new item."""
        found = self._places.place(record.change.node)
        if found is not None:
            return found
        fields = record.change.fields
        if fields.parent is None or fields.name is None:
            raise NotFound("the item was removed on the portal meanwhile")
        return self._folder(fields.parent), fields.name

    def _folder(self, number: Number) -> Address:
        address = self._places.address(number)
        if address is None:
            raise NotFound("the folder that this change belongs to is not on the portal")
        return address

    def _operation(self, record: Record) -> Operation:
        change, what, key = record.change, record.change.fields, record.key
        match change.kind:
            case ChangeKind.MKDIR:
                parent, name = self._target(record)
                exists = OnExisting.FAIL if what.exclusive else OnExisting.MERGE
                return Mkdir(parent, name, exists=exists, attributes=self._attributes(what), key=key)
            case ChangeKind.SYMLINK:
                parent, name = self._target(record)
                return Symlink(
                    parent,
                    name,
                    what.attributes.symlink or "",
                    exists=self._exists(record),
                    if_match=self._if_match(record),
                    attributes=self._attributes(what),
                    key=key,
                )
            case ChangeKind.MOVE:
                return self._move(record)
            case ChangeKind.DELETE:
                return Delete(self._there(change.node), if_match=None if what.folder else change.base, key=key)
            case ChangeKind.ATTRIBUTES:
                return SetAttributes(self._there(change.node), attribute_change(what.attributes, what.dropped), key=key)
            case _:
                raise RuntimeError(f"{change.kind} is not sent as an operation")

    def _there(self, number: Number) -> Address:
        """A node by its identity, or where it is by now on a portal that knows none."""
        address = self._places.address(number)
        if address is None:
            raise NotFound("the item is not on the portal")
        return address

    def _move(self, record: Record) -> Move:
        what = record.change.fields
        assert what.parent is not None
        assert what.name is not None
        # What is replaced may be here alone, never sent: then the portal must not have anything of that name.
        over = None if what.over_node is None else self._places.address(what.over_node)
        exists = OnExisting.FAIL if over is None else OnExisting.OVERWRITE
        return Move(
            target=self._there(record.change.node),
            parent=self._folder(what.parent),
            name=what.name,
            exists=OnExisting.EXCHANGE if what.exchange else exists,
            if_match_target=None if what.exchange else what.over,
            key=record.key,
        )
