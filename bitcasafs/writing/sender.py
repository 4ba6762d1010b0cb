"""One change as a request to the remote: computes paths, fills holes, sends, answers the item.

Nothing is kept here. Which change goes when is `order` and `scheduler`; what its outcome means is `scheduler`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from bitcasafs.errors import BitcasaError, NotFound, ProtocolError, Refused, Unavailable
from bitcasafs.remote.interface import Remote, ReplaceStep, Source
from bitcasafs.values.items import Address, AttributeChange, Attributes, Item, Version
from bitcasafs.values.operations import Delete, Mkdir, Move, OnExisting, Operation, Place, Put, SetAttributes, Symlink
from bitcasafs.writing.change import ChangeKind, Fields, Number, Record
from bitcasafs.writing.contents import Contents, base_of
from bitcasafs.writing.staging import StagedFile


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


class Sender:
    def __init__(self, remote: Remote, contents: Contents, places: Places) -> None:
        self._remote = remote
        self._contents = contents
        self._places = places

    async def send(self, record: Record, progress: Callable[[int], None]) -> Item | None:
        """Carry out one change on the portal. Waits for the network; raises as `Remote` does."""
        if record.change.kind is ChangeKind.CONTENT:
            return await self._send_content(record, progress)
        if record.change.kind is ChangeKind.SYMLINK and not self._remote.capabilities.attributes:
            parent, name = self._target(record)
            return await self._remote.store(Put(parent, name, 0, key=record.key), Nothing())
        outcome = (await self._remote.apply([(self._operation(record), None)]))[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.item

    @property
    def batches(self) -> bool:
        """Several contents may share a request."""
        return self._remote.capabilities.batch

    async def send_together(self, records: Sequence[Record]) -> list[Item | BitcasaError]:
        """Carry out several small contents in one request; an outcome each. Raises what befell the whole request."""
        outcomes: list[Item | BitcasaError] = [Refused("it was not sent")] * len(records)
        operations: list[tuple[Operation, Source | None]] = []
        places: list[int] = []
        for place, record in enumerate(records):
            try:
                staged = self._staged(record)
                operations.append((self._put(record, staged), StagedSource(staged, staged.size_bytes)))
                places.append(place)
            except BitcasaError as error:
                outcomes[place] = error
        answers = await self._remote.apply(operations) if operations else []
        for place, answer in zip(places, answers, strict=True):
            outcomes[place] = answer.error or answer.item or ProtocolError("a batch's answer without an item")
        return outcomes

    def _staged(self, record: Record) -> StagedFile:
        try:
            return self._contents.staged(record)
        except FileNotFoundError:
            raise Refused(f"the staged file {record.staged} is gone from the staging folder") from None

    def _put(self, record: Record, staged: StagedFile) -> Put:
        parent, name = self._target(record)
        return Put(
            parent=parent,
            name=name,
            size_bytes=staged.size_bytes,
            exists=OnExisting.FAIL if self._if_match(record) is None else OnExisting.OVERWRITE,
            if_match=self._if_match(record),
            attributes=self._attributes(record.change.fields),
            key=record.key,
        )

    async def _send_content(self, record: Record, progress: Callable[[int], None]) -> Item:
        staged = self._staged(record)
        base = base_of(record)
        for start, stop in staged.holes(0, staged.base_limit):
            assert base is not None
            await self._remote.fetch(base, start, min(stop, base.size_bytes), staged.fill)
        put = self._put(record, staged)
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
                return Mkdir(parent, name, attributes=self._attributes(what), key=key)
            case ChangeKind.SYMLINK:
                parent, name = self._target(record)
                return Symlink(parent, name, what.attributes.symlink or "", attributes=self._attributes(what), key=key)
            case ChangeKind.MOVE:
                return self._move(record)
            case ChangeKind.DELETE:
                assert what.old_parent is not None
                assert what.old_name is not None
                target = Place(self._folder(what.old_parent), what.old_name)
                return Delete(target, if_match=None if what.folder else change.base, key=key)
            case ChangeKind.ATTRIBUTES:
                address = self._places.address(change.node)
                if address is None:
                    raise NotFound("the item whose attributes were changed is not on the portal")
                return SetAttributes(address, attribute_change(what.attributes, what.dropped), key=key)
            case _:
                raise RuntimeError(f"{change.kind} is not sent as an operation")

    def _move(self, record: Record) -> Move:
        what = record.change.fields
        assert what.old_parent is not None
        assert what.old_name is not None
        assert what.parent is not None
        assert what.name is not None
        # What is replaced may be here alone, never sent: then the portal must not have anything of that name.
        over = None if what.over_node is None else self._places.address(what.over_node)
        exists = OnExisting.FAIL if over is None else OnExisting.OVERWRITE
        return Move(
            target=Place(self._folder(what.old_parent), what.old_name),
            parent=self._folder(what.parent),
            name=what.name,
            exists=OnExisting.EXCHANGE if what.exchange else exists,
            if_match_target=None if what.exchange else what.over,
            key=record.key,
        )
