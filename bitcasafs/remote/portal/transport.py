"""Requests and answers over one HTTP/1.1 connection pool: time-outs, and every failure as one of our kinds.

Who uses: `session` (adds the cookie), `discovery` and the login (which come before one). Knows nothing of the portal.
HTTP/2 is never spoken: its bodies cost this client 3.5 times the time (measured).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import trio

from bitcasafs import __version__
from bitcasafs.errors import Malformed, ProtocolError, TimedOut, Truncated, Unavailable, Unreachable
from bitcasafs.remote.portal.endpoint import Endpoint

SMALL_ANSWER_BYTES = 16 * 1024 * 1024
KEEP_ALIVE_SECONDS = 30.0
_ALWAYS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"BitcasaFS/{__version__}"}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds each phase may take: connecting (TLS included), from the request's last byte to the answer's first, and
    silence between bytes either way."""

    connect_seconds: float = 10.0
    first_byte_seconds: float = 30.0
    silence_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: `pieces` makes it anew for each attempt, `size_bytes` in all."""

    size_bytes: int
    pieces: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(len(data), lambda: iter((data,)))


class _Sending(httpx.AsyncByteStream):
    """A body as the library takes it. Plain iterators: an asynchronous generator that a broken connection leaves in
    the middle would be reported as forgotten when it is collected."""

    def __init__(self, body: Body) -> None:
        self._pieces = body.pieces()

    def __aiter__(self) -> _Sending:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` may be asked in any case."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False, default=b"")


class Stream:
    """An answer whose body is read as it comes: iterate once for its pieces, as they came over the wire.

    A plain iterator and no generator: one that is left early would have to be closed by each caller.
    """

    def __init__(self, response: httpx.Response, silence_seconds: float) -> None:
        self._response = response
        self._silence_seconds = silence_seconds
        self._pieces: AsyncIterator[bytes] | None = None
        self.status = response.status_code
        self.headers = response.headers

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        """TimedOut, Truncated, Unreachable."""
        if self._pieces is None:
            self._pieces = self._response.aiter_raw()
        try:
            with trio.fail_after(self._silence_seconds):
                return await anext(self._pieces)
        except trio.TooSlowError:
            raise TimedOut(f"no byte for {self._silence_seconds:g} s in the middle of an answer") from None
        except httpx.RemoteProtocolError as error:
            raise Truncated(f"the answer broke off: {error}") from error
        except httpx.TransportError as error:
            raise _failure(error) from error

    async def close(self) -> None:
        """At most a second. A connection whose answer was not read to its end is closed, never waited for."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await self._response.aclose()
            if self._pieces is None:
                return
            # The library's own generators are nested, and only what ends the innermost ends them all: reading on from
            # the closed connection. Left alone, each would be reported as forgotten when it is collected.
            try:
                async for _ in self._pieces:
                    pass
            except (httpx.TransportError, httpx.StreamError, trio.ClosedResourceError):
                return

    async def read(self, limit_bytes: int) -> Answer:
        """The whole body. ProtocolError when it is larger than anything that makes sense."""
        if self.headers.get("Content-Encoding", "identity") != "identity":
            raise ProtocolError("an answer is encoded, though none was asked for", self.headers["Content-Encoding"])
        gathered = bytearray()
        async for piece in self:
            gathered += piece
            if len(gathered) > limit_bytes:
                raise ProtocolError(f"an answer has more than {limit_bytes} bytes")
        return Answer(self.status, self.headers, bytes(gathered))


class Transport:
    """One pool of connections to one place. Redirects are not followed, cookies not kept: both are the session's."""

    def __init__(
        self, endpoint: Endpoint, *, timeouts: Timeouts, connections: int, context: ssl.SSLContext | None = None
    ) -> None:
        self.endpoint = endpoint
        self._timeouts = timeouts
        self._url = httpx.URL(endpoint.origin)
        # The read time-out is that of the first byte; `Stream` guards the silence after it.
        self._phases = httpx.Timeout(
            connect=timeouts.connect_seconds,
            read=timeouts.first_byte_seconds,
            write=timeouts.silence_seconds,
            pool=timeouts.first_byte_seconds,
        )
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=context if context is not None else ssl.create_default_context(),
                http1=True,
                http2=False,
                uds=endpoint.unix_path,
                trust_env=False,
                limits=httpx.Limits(
                    max_connections=connections,
                    max_keepalive_connections=connections,
                    keepalive_expiry=KEEP_ALIVE_SECONDS,
                ),
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, headers: Mapping[str, str], body: Body | None = None
    ) -> AsyncIterator[Stream]:
        """Send, and wait for the answer's head. `target` is percent-encoded, with its query.

        Unavailable: `applied` is False only when no connection was made.
        """
        if self._client.is_closed:
            raise Unreachable("the connection to the portal was closed by us", applied=False)
        try:
            url = self._url.copy_with(raw_path=target.encode("ascii"))
        except httpx.InvalidURL as error:
            raise Malformed(f"no request can be made of this path: {error}") from error
        sent = {"Host": url.netloc.decode("ascii"), **_ALWAYS, **headers}
        if body is not None:
            sent["Content-Length"] = str(body.size_bytes)
        elif method == "POST":
            sent["Content-Length"] = "0"
        request = httpx.Request(
            method, url, headers=sent, stream=_Sending(body if body is not None else Body(0, lambda: iter(())))
        )
        request.extensions = {"timeout": self._phases.as_dict()}
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise _failure(error) from error
        stream = Stream(response, self._timeouts.silence_seconds)
        try:
            yield stream
        finally:
            await stream.close()

    async def call(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        limit_bytes: int = SMALL_ANSWER_BYTES,
    ) -> Answer:
        """Send, and read the whole answer, whatever its status."""
        async with self.stream(method, target, headers=headers or {}, body=body) as stream:
            return await stream.read(limit_bytes)

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await self._client.aclose()


def _failure(error: httpx.TransportError) -> Unavailable:
    """One of our kinds. Only where no connection was made is it certain that nothing took effect."""
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return TimedOut("the portal took too long to connect", applied=False)
        case httpx.ConnectError():
            return Unreachable(f"the portal cannot be reached: {_reason(error)}", applied=False)
        case httpx.TimeoutException():
            return TimedOut(f"the portal was silent for too long: {type(error).__name__}")
        case _:
            return Unreachable(f"the connection to the portal broke: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """What a person can do something about lies at the bottom: the libraries above it may say nothing at all."""
    reason, cause = str(error), error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        reason = reason or str(cause)
        cause = cause.__cause__ or cause.__context__
    return reason or type(error).__name__
