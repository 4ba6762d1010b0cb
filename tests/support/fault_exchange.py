"""One client's connection through the fault proxy: request after request, each with the fault that the script gives it.

Request and answer are relayed side by side, as a server may answer before it has read everything. When anything goes
wrong, by a fault or by itself, both sides of this connection end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import h11
import trio

from tests.support.endpoints import reset
from tests.support.fault_plan import Act, Treatment, request_treatment, response_treatment
from tests.support.faults import Fault, HalfBody, LostAnswer, Phase, Refuse, ResetRequest, ResetResponse, Stall, Status
from tests.support.http_end import ClientGone, HttpEnd, UpstreamGone, request_length, response_length
from tests.support.request_log import Ending, RequestLog

Decide = Callable[[str, str], Fault | None]
Connect = Callable[[], Awaitable[trio.SocketStream]]
Send = Callable[[bytes], Awaitable[None]]
Wait = Callable[[float | None], Awaitable[None]]


class Over(Exception):
    """The connection ends here, by a fault."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class FaultyConnection:
    """`stall` waits so many seconds, or until released (None)."""

    def __init__(
        self, number: int, client: trio.SocketStream, *, log: RequestLog, decide: Decide, connect: Connect, stall: Wait
    ) -> None:
        self._number = number
        self._client = HttpEnd(client, h11.SERVER)
        self._upstream: HttpEnd | None = None
        self._log = log
        self._decide = decide
        self._connect = connect
        self._stall = stall
        self._answer_length: int | None = None

    async def run(self) -> None:
        """Until the client, the upstream or a fault ends it; closes both sides."""
        try:
            while (request := await self._next_request()) is not None and await self._exchange(request):
                pass
            await self._client.stream.aclose()
        finally:
            for end in (self._client, self._upstream):
                if end is not None:
                    reset(end.stream)

    async def _next_request(self) -> h11.Request | None:
        """None when the client or the upstream ended between requests."""
        event: h11.Event | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_upstream, nursery.cancel_scope)
            try:
                event = await self._client.receive()
            except ClientGone:
                event = None
            nursery.cancel_scope.cancel()
        return event if isinstance(event, h11.Request) else None

    async def _watch_upstream(self, waiting: trio.CancelScope) -> None:
        if self._upstream is not None:
            try:
                await self._upstream.watch()
            except UpstreamGone:
                waiting.cancel()

    async def _exchange(self, request: h11.Request) -> bool:
        """One request and its answer; whether another may follow."""
        method, target = request.method.decode(), request.target.decode()
        headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw_items())
        fault = self._decide(method, target)
        number = self._log.add(self._number, method, target, headers, fault)
        ending = Ending.OPEN
        try:
            await self._carry_out(number, request, fault)
            ending = Ending.ANSWERED
        except* Over as group:
            ending = _first(group, Over).ending
        except* ClientGone:
            ending = Ending.ANSWERED if self._has_answered(number) else Ending.CLIENT_GONE
        except* (UpstreamGone, OSError):
            ending = Ending.UPSTREAM_GONE
        if ending is Ending.CUT_SHORT:
            await self._client.stream.aclose()
        elif ending is not Ending.ANSWERED:
            reset(self._client.stream)
        self._log.update(number, ending=ending)
        return ending is Ending.ANSWERED and self._next_cycle()

    def _has_answered(self, number: int) -> bool:
        """A client may leave when it has the last byte, before we noticed that it was the last."""
        all_bytes = self._answer_length is not None and self._log[number].answered_bytes == self._answer_length
        return all_bytes or self._client.state.our_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    def _next_cycle(self) -> bool:
        """Ready both sides for another request; whether there may be one."""
        if not self._client.is_done:
            return False
        self._client.state.start_next_cycle()
        if self._upstream is not None and self._upstream.is_done:
            self._upstream.state.start_next_cycle()
        elif self._upstream is not None and self._upstream.state.our_state is not h11.IDLE:
            reset(self._upstream.stream)
            self._upstream = None
        return True

    async def _carry_out(self, number: int, request: h11.Request, fault: Fault | None) -> None:
        length = request_length(request)
        self._answer_length = None
        if isinstance(fault, Refuse) or (isinstance(fault, ResetRequest) and length == 0):
            raise Over(Ending.RESET)
        if isinstance(fault, Status) and not fault.reaches_upstream:
            await self._drain_request(number)
            await self._answer(number, fault)
            return
        if self._upstream is None:
            self._upstream = HttpEnd(await self._connect(), h11.CLIENT)
        await self._upstream.send(h11.Request(method=request.method, headers=_raw(request), target=request.target))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._relay_request, number, self._upstream, request_treatment(fault, length))
            await self._relay_response(number, self._upstream, request.method, fault)
            nursery.cancel_scope.cancel()

    # --- request ------------------------------------------------------------------------------------------------

    async def _relay_request(self, number: int, upstream: HttpEnd, treatment: Treatment) -> None:
        """An upstream that stops listening may still answer, so that alone ends nothing: the rest is read in vain."""
        listens = True

        async def forward(event: h11.Event) -> None:
            nonlocal listens
            try:
                if listens:
                    await upstream.send(event)
            except UpstreamGone:
                listens = False

        async def forward_piece(piece: bytes) -> None:
            await forward(h11.Data(data=piece))
            if listens:
                self._log.update(number, forwarded_bytes=self._log[number].forwarded_bytes + len(piece))

        await self._read_request(number, treatment, forward_piece)
        await forward(h11.EndOfMessage())
        await self._client.watch()

    async def _drain_request(self, number: int) -> None:
        """A client that waits for 100 Continue would never send its body."""

        async def drop(piece: bytes) -> None:
            pass

        if not self._client.state.they_are_waiting_for_100_continue:
            await self._read_request(number, Treatment(), drop)

    async def _read_request(self, number: int, treatment: Treatment, send: Send) -> None:
        received_bytes = 0
        while isinstance(event := await self._client.receive(), h11.Data):
            start, received_bytes = received_bytes, received_bytes + len(event.data)
            self._log.update(number, received_bytes=received_bytes)
            await self._treat(bytes(event.data), start, treatment, send)

    # --- answer -------------------------------------------------------------------------------------------------

    async def _relay_response(self, number: int, upstream: HttpEnd, method: bytes, fault: Fault | None) -> None:
        while isinstance(event := await upstream.receive(), h11.InformationalResponse):
            await self._client.send(event)
        if not isinstance(event, h11.Response):
            raise UpstreamGone("ended without an answer")
        self._log.update(number, upstream_status=event.status_code)
        length = self._answer_length = response_length(event, method)
        if isinstance(fault, LostAnswer | Status):
            while isinstance(await upstream.receive(), h11.Data):
                pass
            if isinstance(fault, LostAnswer):
                raise Over(Ending.RESET)
            await self._answer(number, fault)
            return
        if length == 0 and isinstance(fault, ResetResponse | HalfBody):
            raise Over(Ending.RESET if isinstance(fault, ResetResponse) else Ending.CUT_SHORT)
        if isinstance(fault, Stall) and fault.phase is Phase.BEFORE_ANSWER:
            await self._stall(fault.seconds)
        await self._client.send(h11.Response(status_code=event.status_code, headers=_raw(event), reason=event.reason))
        self._log.update(number, status=event.status_code)
        await self._relay_response_body(number, upstream, response_treatment(fault, length))

    async def _relay_response_body(self, number: int, upstream: HttpEnd, treatment: Treatment) -> None:
        async def forward(piece: bytes) -> None:
            await self._client.send(h11.Data(data=piece))
            self._log.update(number, answered_bytes=self._log[number].answered_bytes + len(piece))

        passed_bytes = 0
        while isinstance(event := await upstream.receive(), h11.Data):
            start, passed_bytes = passed_bytes, passed_bytes + len(event.data)
            await self._treat(bytes(event.data), start, treatment, forward)
        await self._client.send(h11.EndOfMessage())

    async def _answer(self, number: int, status: Status) -> None:
        """Our own answer instead of the upstream's."""
        headers = [*status.headers, ("Content-Length", str(len(status.body)))]
        if status.retry_after_seconds is not None:
            headers.append(("Retry-After", str(status.retry_after_seconds)))
        await self._client.send(h11.Response(status_code=status.code, headers=headers))
        await self._client.send(h11.Data(data=status.body))
        await self._client.send(h11.EndOfMessage())
        self._log.update(number, status=status.code, answered_bytes=len(status.body))

    # --- bodies -------------------------------------------------------------------------------------------------

    async def _treat(self, data: bytes, start: int, treatment: Treatment, send: Send) -> None:
        """Send on the piece of a body that starts at `start`; Over where it does not go on."""
        if not treatment.splits(start, start + len(data)):
            await send(data)
            return
        cut = treatment.at_bytes - start
        if treatment.act is Act.FLIP:
            await send(data[:cut] + bytes([data[cut] ^ treatment.mask]) + data[cut + 1 :])
            return
        if cut:
            await send(data[:cut])
        if treatment.act is Act.RESET:
            raise Over(Ending.RESET)
        if treatment.act is Act.CLOSE:
            raise Over(Ending.CUT_SHORT)
        await self._stall(treatment.seconds)
        await send(data[cut:])


def _raw(message: h11.Request | h11.Response) -> list[tuple[bytes, bytes]]:
    """Headers in the case in which they came."""
    return list(message.headers.raw_items())


def _first(group: BaseExceptionGroup[Over], kind: type[Over]) -> Over:
    for error in group.exceptions:
        if isinstance(error, kind):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first(error, kind)
    raise AssertionError("an empty group")
