"""Changes on a portal with our extensions: everything through `batch`, content too large for it through `/files`.

Every operation has an idempotency key, so each of these calls may be repeated as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from bitcasafs.dialects import batch
from bitcasafs.dialects.discovery import BatchLimits
from bitcasafs.dialects.forms import ChangeOptions, encode_options
from bitcasafs.dialects.outcomes import OutcomeLine, OutcomeReader
from bitcasafs.dialects.refusals import decode_error
from bitcasafs.errors import BitcasaError, Truncated, Unavailable
from bitcasafs.remote.interface import Outcome, ReplaceStep, Source
from bitcasafs.remote.keys import with_key
from bitcasafs.remote.portal.parts import Part, Work, shift, split
from bitcasafs.remote.portal.session import Session
from bitcasafs.remote.portal.transport import SMALL_ANSWER_BYTES, Body
from bitcasafs.remote.portal.uploads import Progress, source_pieces, upload
from bitcasafs.remote.sequence import check_work
from bitcasafs.values.items import Address, AttributeChange, IdempotencyKey, Item
from bitcasafs.values.operations import Operation, Place, Put, SetAttributes


class ExtendedChanges:
    """What `PortalRemote` does with `store` and `apply` where the portal has `batch`."""

    def __init__(self, session: Session, limits: BatchLimits) -> None:
        self._session = session
        self._limits = limits

    async def store(
        self,
        put: Put,
        source: Source,
        *,
        resume: ReplaceStep | None = None,
        on_step: Callable[[ReplaceStep], None] | None = None,
        progress: Progress | None = None,
    ) -> Item:
        put = with_key(put)
        if put.size_bytes > self._limits.content or batch.frame_bytes(put) > self._limits.bytes:
            return await self._store_large(put, source, progress)
        (outcome,) = await self._send([(put, source)], progress)
        if outcome.error is not None:
            raise outcome.error
        return _made_item(outcome)

    async def _store_large(self, put: Put, source: Source, progress: Progress | None) -> Item:
        assert isinstance(put.parent, Address)
        options = ChangeOptions(
            exists=put.exists,
            if_match=put.if_match,
            parent_mtime_ns=put.parent_mtime_ns,
            md5=put.md5,
            key=put.key,
        )
        query, headers = encode_options(options)
        item = await upload(
            self._session, put.parent, put.name, source, query=query, headers=headers, progress=progress
        )
        if not put.attributes:
            return item
        # The upload's own fields know no attributes. A repeat of the whole gets both first answers again.
        dressed = SetAttributes(item.address, put.attributes, key=_second_key(put.key))
        (outcome,) = await self._send([(dressed, None)])
        if outcome.error is not None:
            raise outcome.error
        return _made_item(outcome)

    async def look(self, target: Address | Place) -> Item:
        """By a change of no attributes, which the protocol answers with the item (2.4: `set` merges)."""
        (outcome,) = await self._send([(SetAttributes(target, AttributeChange()), None)])
        if outcome.error is not None:
            raise outcome.error
        return _made_item(outcome)

    async def apply(self, operations: Sequence[tuple[Operation, Source | None]]) -> Sequence[Outcome]:
        check_work(operations)
        keyed = [(with_key(operation), source) for operation, source in operations]
        outcomes: list[Outcome] = []
        for part in split(keyed, self._limits):
            try:
                outcomes += await self._apply_part(keyed, part, outcomes)
            except BitcasaError as error:
                if part.start == 0:
                    raise
                unsent = _not_answered(error, applied=False)
                outcomes += [Outcome(error=error)] * (part.stop - part.start)
                outcomes += [Outcome(error=unsent)] * (len(keyed) - part.stop)
                break
        return outcomes

    async def _apply_part(self, keyed: Work, part: Part, before: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of one part; what names a failed operation of an earlier one is not sent."""
        made = [outcome.item.address if outcome.item is not None else None for outcome in before]
        shifted = [(shift(operation, part, made), source) for operation, source in keyed[part.start : part.stop]]
        failed = {index: what for index, (what, _) in enumerate(shifted) if isinstance(what, BitcasaError)}
        if failed:
            # Numbers would no longer fit; one after another is slow, and as rare as a folder that could not be made.
            return await self._apply_singly(keyed, part, before)
        return await self._send([(what, source) for what, source in shifted if not isinstance(what, BitcasaError)])

    async def _apply_singly(self, keyed: Work, part: Part, before: Sequence[Outcome]) -> list[Outcome]:
        outcomes = list(before)
        for index in range(part.start, part.stop):
            made = [outcome.item.address if outcome.item is not None else None for outcome in outcomes]
            operation, source = keyed[index]
            what = shift(operation, Part(index, index + 1), made)
            outcomes += [Outcome(error=what)] if isinstance(what, BitcasaError) else await self._send([(what, source)])
        return outcomes[part.start :]

    # --- one request -----------------------------------------------------------------------------------------------

    async def _send(self, operations: Work, progress: Progress | None = None) -> list[Outcome]:
        """One `POST /batch`. Where its answer ends early, the rest is Unavailable with `applied` None."""
        reader = OutcomeReader(len(operations))
        lines: list[OutcomeLine] = []
        async with self._session.stream(
            "POST", batch.PATH, headers={"Content-Type": batch.MEDIA_TYPE}, body=_batch_body(operations, progress)
        ) as stream:
            if stream.status != 200:
                answer = await stream.read(SMALL_ANSWER_BYTES)
                raise decode_error(answer.status, answer.body, answer.headers)
            try:
                async for piece in stream:
                    lines += reader.feed(piece)
                reader.finish()
            except Unavailable as error:
                if not lines:
                    error.applied = None
                    raise
                lost = _not_answered(error, applied=None)
                return [_outcome(line) for line in lines] + [Outcome(error=lost)] * (len(operations) - len(lines))
        return [_outcome(line) for line in lines]


def _batch_body(operations: Work, progress: Progress | None) -> Body:
    def pieces() -> Iterator[bytes]:
        gathered = bytearray()
        sent = 0
        for operation, source in operations:
            gathered += batch.encode_operation(operation)
            if source is None:
                continue
            # Small contents share a write: a thousand of them would be three thousand packets.
            for piece in source_pieces(source):
                gathered += piece
                sent += len(piece)
                if len(gathered) >= _WRITE_BYTES:
                    yield bytes(gathered)
                    gathered.clear()
                    if progress is not None:
                        progress(sent)
            gathered += batch.CONTENT_END
        yield bytes(gathered)
        if progress is not None:
            progress(sent)

    return Body(sum(batch.frame_bytes(operation) for operation, _ in operations), pieces)


_WRITE_BYTES = 64 * 1024


def _outcome(line: OutcomeLine) -> Outcome:
    return Outcome(item=line.item, error=line.error, current=line.current, cursor=line.cursor)


def _made_item(outcome: Outcome) -> Item:
    if outcome.item is None:
        raise Truncated("the portal said success and told of no item", applied=None)
    return outcome.item


def _not_answered(cause: BitcasaError, *, applied: bool | None) -> Unavailable:
    wait = cause.retry_after_seconds if isinstance(cause, Unavailable) else None
    return Unavailable(f"no answer: {cause}", applied=applied, retry_after_seconds=wait)


def _second_key(key: IdempotencyKey | None) -> IdempotencyKey:
    """The key of the step after the upload, the same for each repeat of the whole."""
    return IdempotencyKey(hashlib.sha256(f"{key}/attributes".encode()).hexdigest()[:32])
