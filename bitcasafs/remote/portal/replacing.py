"""Storing a file on a portal that never overwrites and never says what became of a lost upload (protocol 1.7).

A new name is uploaded as it is. A replacement is uploaded aside under a hidden name, the old file is deleted, the new
one renamed into its place; each step is told to the caller, who hands the newest one back to go on after a crash.
Others may see a gap of one round trip.

A lost answer is settled by looking; what is ours is known by its content, since a stranger may have taken the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar

import trio

from bitcasafs.dialects.names import check_name, numbered, upload_name
from bitcasafs.errors import BitcasaError, Exists, IsFolder, NotFound, ProtocolError, Unavailable, VersionMismatch
from bitcasafs.remote.interface import ContentRef, ReplaceStep, Source
from bitcasafs.remote.portal.reads import Reads
from bitcasafs.remote.portal.steps import Steps, no_doubt
from bitcasafs.remote.portal.uploads import Progress
from bitcasafs.values.items import Address, Item, Version
from bitcasafs.values.operations import OnExisting, Put

_T = TypeVar("_T")
OnStep = Callable[[ReplaceStep], None]

LOOK_FIRST_BYTES = 4 * 1024 * 1024
"""From this size on a listing before the upload is cheaper than an upload in vain."""
_CLOCK_SLACK_MS = 3_000.0
"""The portal's clock is told in whole seconds, by servers that look at it once a second, and the times of some portals'
items are whole seconds as well."""


_REMEMBERED = 4096
"""Unknown outcomes kept; older ones are for the outbox, which compares what is there with what it has."""


class _Differs(Exception):
    """Not our bytes; ends a comparison early."""


@dataclass(slots=True)
class _Sent:
    """An upload whose outcome is not known: when it began by the portal's clock, and the names there before, if
    anybody looked."""

    began_ms: float
    before: frozenset[str] | None


class Storing:
    """`unsettled` keeps, by idempotency key, what is not known of uploads, for the next attempt under the same key."""

    def __init__(self, steps: Steps, reads: Reads) -> None:
        self._steps = steps
        self._reads = reads
        self._unsettled: dict[str, _Sent] = {}
        self._replacing: dict[str, ReplaceStep] = {}

    async def store(
        self, put: Put, source: Source, resume: ReplaceStep | None, on_step: OnStep | None, progress: Progress | None
    ) -> Item:
        """`put` has a key and an Address as its parent."""
        check_name(put.name)
        if put.exists is not OnExisting.OVERWRITE:
            return await self._store_new(put, source, progress)
        assert put.key is not None
        known = resume or self._replacing.get(put.key)

        def stepped(step: ReplaceStep) -> None:
            assert put.key is not None
            _remember(self._replacing, put.key, step)
            if on_step is not None:
                on_step(step)

        item = await self._replace(put, source, known, stepped, progress)
        self._replacing.pop(put.key, None)
        return item

    # --- a new name ------------------------------------------------------------------------------------------------

    async def _store_new(self, put: Put, source: Source, progress: Progress | None) -> Item:
        """Exists (unless RENAME): the name was taken; nothing of ours is left."""
        parent = _parent(put)
        assert put.key is not None
        sent = self._unsettled.get(put.key)
        if sent is not None:
            found = await self._settle(put, source, sent)
            if found is not None:
                return found
        before: frozenset[str] | None = None
        if put.size_bytes >= LOOK_FIRST_BYTES or sent is not None:
            before = frozenset(await self._steps.entries(parent))
            if put.name in before and put.exists is OnExisting.FAIL:
                raise Exists(f"{put.name} exists in {parent.path}")
        sent = _Sent(self._steps.portal_ms() - _CLOCK_SLACK_MS, before)
        try:
            item = await self._steps.upload(parent, put.name, source, progress)
        except (Unavailable, ProtocolError) as error:
            found = await self._after_lost_answer(error, put, source, sent)
            if found is None:
                raise
            return found
        if item.name == put.name or put.exists is OnExisting.RENAME:
            return item
        await self._remove_newcomer(put, item, sent)
        raise Exists(f"{put.name} exists in {parent.path}")

    async def _after_lost_answer(self, error: BitcasaError, put: Put, source: Source, sent: _Sent) -> Item | None:
        """Our item when it is there. None: it is not; the error then says so."""
        assert put.key is not None
        if isinstance(error, Unavailable) and error.applied is False:
            return None
        _remember(self._unsettled, put.key, sent)
        try:
            found = await self._settle(put, source, sent)
        except Unavailable:
            raise error from None
        if isinstance(error, Unavailable):
            error.applied = False
        return found

    async def _settle(self, put: Put, source: Source, sent: _Sent) -> Item | None:
        """What became of an upload: our item, or None when it is not there.

        Exists: the name is a stranger's, and our copy (`name (1).ext`) was removed.
        """
        assert put.key is not None
        entries = await self._steps.entries(_parent(put))
        ours = same = None
        for item in _landed(put.name, entries):
            if item.is_folder or item.incomplete or item.size_bytes != put.size_bytes:
                continue
            if sent.before is not None:
                ours = item if item.name not in sent.before else None
            elif item.mtime_ms >= sent.began_ms and await self._has_bytes(item, source):
                ours = item
            elif item.name == put.name and put.exists is OnExisting.FAIL and await self._has_bytes(item, source):
                # The very bytes under the very name, but older: as good as ours, unless ours lies beside it.
                same = item
            if ours is not None:
                break
        ours = ours or same
        if ours is None:
            return None
        if ours.name != put.name and put.exists is OnExisting.FAIL:
            await self._remove_newcomer(put, ours, sent)
            raise Exists(f"{put.name} exists in {_parent(put).path}")
        self._unsettled.pop(put.key, None)
        return ours

    async def _remove_newcomer(self, put: Put, item: Item, sent: _Sent) -> None:
        """When nobody can say that it is gone, the next attempt under the same key finds it and removes it."""
        assert put.key is not None
        _remember(self._unsettled, put.key, sent)
        try:
            await self._steps.delete(item.path, no_doubt)
        except NotFound:
            pass
        except Unavailable as error:
            # Of the put itself it is certain: it did not get its name.
            error.applied = False
            raise
        self._unsettled.pop(put.key, None)

    async def _has_bytes(self, item: Item, source: Source) -> bool:
        if item.id is None:
            return False

        def compare(offset: int, data: bytes) -> None:
            if source.read(offset, offset + len(data)) != data:
                raise _Differs

        try:
            await self._reads.fetch(ContentRef(item.id, item.size_bytes), 0, item.size_bytes, compare)
        except (_Differs, NotFound, VersionMismatch):
            return False
        return True

    # --- in place of another ---------------------------------------------------------------------------------------

    async def _replace(
        self, put: Put, source: Source, resume: ReplaceStep | None, on_step: OnStep, progress: Progress | None
    ) -> Item:
        """IsFolder, VersionMismatch: nothing of ours is left, unless the portal could not be asked to remove it."""
        assert put.key is not None
        parent = _parent(put)
        step = resume or ReplaceStep(upload_name(put.name, put.key), uploaded=False, deleted=False)
        entries = await self._steps.entries(parent)
        present = entries.get(put.name)
        if resume is None and put.if_match is None and (present is None or put.key in self._unsettled):
            try:
                return await self._store_new(replace(put, exists=OnExisting.FAIL), source, progress)
            except Exists:
                entries = await self._steps.entries(parent)
                present = entries.get(put.name)
        aside = _whole(entries.get(step.upload_name), put)
        if step.deleted and present is not None:
            if aside is None and present.size_bytes == put.size_bytes and not present.is_folder:
                return present  # The rename took effect, and its answer was lost.
            await self._lose(put, aside)
        if aside is None:
            if not step.deleted:
                _check_match(present, put.if_match)
            on_step(replace(step, uploaded=False))
            aside = await self._upload_aside(put, source, step, progress)
            step = replace(step, uploaded=True)
            on_step(step)
            # The upload may have taken hours.
            present = (await self._steps.entries(parent)).get(put.name)
        if not step.deleted:
            await self._delete_old(put, present, aside, resuming=resume is not None)
            step = replace(step, uploaded=True, deleted=True)
            on_step(step)
        elif present is not None:
            await self._lose(put, aside)
        try:
            return await self._steps.rename(aside, parent, put.name, no_doubt)
        except Exists:
            await self._lose(put, aside)
            raise

    async def _upload_aside(self, put: Put, source: Source, step: ReplaceStep, progress: Progress | None) -> Item:
        parent = _parent(put)
        try:
            item = await self._steps.upload(parent, step.upload_name, source, progress)
        except (Unavailable, ProtocolError) as error:
            if isinstance(error, Unavailable) and error.applied is False:
                raise
            try:
                found = _whole((await self._steps.entries(parent)).get(step.upload_name), put)
            except Unavailable:
                found = None
            if isinstance(error, Unavailable):
                error.applied = False  # Of the replacement: what lies aside is no change yet.
            if found is None:
                raise
            return found
        if item.name != step.upload_name:
            # One that was thought lost arrived after all; they are equal, for nobody else makes this name.
            await self._give_up(item)
            item = await self._steps.find(parent.child(step.upload_name).path)
        return item

    async def _delete_old(self, put: Put, present: Item | None, aside: Item, *, resuming: bool) -> None:
        try:
            if present is not None or not resuming:
                # Gone while resuming: most likely by our own hand, just before the crash; the content must stay.
                _check_match(present, put.if_match)
        except (VersionMismatch, IsFolder):
            await self._give_up(aside)
            raise
        if present is not None:
            try:
                await self._steps.delete(present.path, no_doubt)
            except NotFound:
                return
            except Unavailable as error:
                error.applied = False
                raise

    async def _lose(self, put: Put, aside: Item | None) -> NoReturn:
        """Somebody else took the name in the gap between delete and rename: theirs stays."""
        if aside is not None:
            await self._give_up(aside)
        raise VersionMismatch(f"{put.name} was made by somebody else while it was being replaced") from None

    async def _give_up(self, aside: Item) -> None:
        """Remove what nobody wants any more, if it can be done; hidden names harm nobody."""
        try:
            await self._steps.delete(aside.path, no_doubt)
        except BitcasaError:
            await trio.lowlevel.checkpoint()


def _parent(put: Put) -> Address:
    assert isinstance(put.parent, Address)
    return put.parent


def _whole(item: Item | None, put: Put) -> Item | None:
    """An upload under a name made of our key has our bytes when it has as many."""
    return item if item is not None and not item.incomplete and item.size_bytes == put.size_bytes else None


def _check_match(present: Item | None, wanted: Version | None) -> None:
    """IsFolder, VersionMismatch: what is there must not be replaced."""
    if present is not None and present.is_folder:
        raise IsFolder(f"{present.path} is a folder")
    if wanted is None:
        return
    if present is None:
        raise VersionMismatch("the item is gone")
    if present.id != wanted:
        raise VersionMismatch(f"{present.path} was changed by somebody else")


def _landed(name: str, entries: dict[str, Item]) -> Iterator[Item]:
    """Where an upload of this name can have landed: the name, then `name (1).ext` and so on, as far as they go."""
    if name in entries:
        yield entries[name]
    number = 1
    while (candidate := numbered(name, number)) in entries:
        yield entries[candidate]
        number += 1


def _remember(memory: dict[str, _T], key: str, value: _T) -> None:
    memory[key] = value
    while len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
