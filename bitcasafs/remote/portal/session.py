"""One session for all requests: logged in when first needed, and again, unseen by callers, when it has expired.

However many requests find the session expired together, one of them logs in and the others wait for it; when it fails,
all fail with it. Nothing is locked: `_attempt` is set and cleared between awaits, and a leader that is cancelled wakes
the others, of whom the next one leads.
"""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
import trio

from bitcasafs.dialects.login import LOGIN_PATH, LOGOUT_PATH, login_flow
from bitcasafs.dialects.messages import Request, Response
from bitcasafs.errors import BitcasaError, LoginRefused, Unavailable, Unreachable
from bitcasafs.logs import Secret
from bitcasafs.remote.portal.transport import SMALL_ANSWER_BYTES, Answer, Body, Stream, Transport

REFUSAL_PAUSE_SECONDS = 10.0
"""After a refused login nobody asks again so soon: a server would throttle or lock the account for everybody."""
_RENEWALS = 3
"""A session that is not valid this many times right after a login is not kept by the portal at all."""


@dataclass(slots=True)
class _Attempt:
    """One login under way."""

    done: trio.Event = field(default_factory=trio.Event)
    error: BitcasaError | None = None


class Session:
    """`password` is asked at each login and not kept."""

    def __init__(self, transport: Transport, user: str, password: Callable[[], Secret]) -> None:
        self._transport = transport
        self._user = user
        self._password = password
        self._cookie: str | None = None
        self._generation = 0
        """How many logins succeeded; a request that used an older session's cookie needs no login of its own."""
        self._attempt: _Attempt | None = None
        self._ahead_seconds = 0.0
        """How far the portal's clock is ahead of ours."""
        self._refusal: tuple[float, LoginRefused] | None = None
        self._explains_refusals = False

    def expect_explanations(self) -> None:
        """This portal says in JSON why it refuses (part 2): a web page that refuses is not from it."""
        self._explains_refusals = True

    def portal_seconds(self) -> float:
        """The portal's time of day, as its last answer told it; ours where it never did."""
        return time.time() + self._ahead_seconds

    @property
    def logins(self) -> int:
        return self._generation

    async def ensure(self) -> None:
        """Logged in, at least once. LoginRefused, Unavailable (`applied` False), ProtocolError."""
        if self._cookie is None:
            await self._renew(self._generation)

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: Body | None = None
    ) -> AsyncIterator[Stream]:
        """As `Transport.stream`, in the session. An answer is never 401; one that is plainly a stranger's is
        Unreachable."""
        for _ in range(_RENEWALS):
            await self.ensure()
            generation = self._generation
            sent = {**(headers or {}), "Cookie": self._cookie or ""}
            async with self._transport.stream(method, target, headers=sent, body=body) as stream:
                self._ahead_seconds = _seconds_ahead(stream, self._ahead_seconds)
                if not _wants_login(stream):
                    self._refuse_strangers(stream)
                    yield stream
                    return
            await self._renew(generation)
        raise LoginRefused("the portal takes the password, but does not keep the session")

    async def call(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        limit_bytes: int = SMALL_ANSWER_BYTES,
    ) -> Answer:
        """As `Transport.call`, in the session. An answer is never 401."""
        async with self.stream(method, target, headers=headers, body=body) as stream:
            return await stream.read(limit_bytes)

    async def logout(self) -> None:
        """End the session on the portal if that is possible within a second; never raises."""
        cookie, self._cookie = self._cookie, None
        if cookie is None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            try:
                await self._transport.call("GET", LOGOUT_PATH, headers={"Cookie": cookie})
            except BitcasaError:
                return  # The portal forgets it some day by itself.

    def _refuse_strangers(self, stream: Stream) -> None:
        """A hotel that wants to be paid, a gateway with nothing behind it: what they say is not said of our files."""
        is_page = stream.headers.get("Content-Type", "").lower().startswith("text/html")
        if 300 <= stream.status < 400 and stream.status != 304:
            raise Unreachable(f"something else answers in the portal's place: {stream.status}, go elsewhere")
        if stream.status >= 400 and is_page and self._explains_refusals:
            raise Unreachable(f"something else answers in the portal's place: {stream.status}, with a web page")

    # --- logging in ------------------------------------------------------------------------------------------------

    async def _renew(self, seen: int) -> None:
        """Log in unless somebody did since generation `seen`."""
        while self._generation == seen:
            if self._attempt is None:
                await self._lead()
                return
            attempt = self._attempt
            await attempt.done.wait()
            if attempt.error is not None:
                raise copy.copy(attempt.error)

    async def _lead(self) -> None:
        attempt = self._attempt = _Attempt()
        try:
            self._cookie = await self._log_in()
            self._generation += 1
            self._refusal = None
        except BitcasaError as error:
            if isinstance(error, Unavailable):
                # Whatever is known of the login, what the caller wanted was not sent.
                error.applied = False
            if isinstance(error, LoginRefused):
                self._refusal = trio.current_time(), error
            attempt.error = error
            raise
        finally:
            self._attempt = None
            attempt.done.set()

    async def _log_in(self) -> str:
        """The value of the header Cookie. A new session: the old cookie is not sent."""
        if self._refusal is not None and trio.current_time() < self._refusal[0] + REFUSAL_PAUSE_SECONDS:
            await trio.lowlevel.checkpoint()
            raise copy.copy(self._refusal[1])
        jar: dict[str, str] = {}
        flow = login_flow(self._user, self._password().reveal(), origin=self._transport.endpoint.origin)
        try:
            request = next(flow)
            while True:
                answer = await self._send(request, jar)
                request = flow.send(Response(answer.status, request.path, answer.headers, answer.body))
        except StopIteration:
            pass
        finally:
            flow.close()
        if not jar:
            raise LoginRefused("the portal took the password, but gave no session")
        return _cookie_header(jar)

    async def _send(self, request: Request, jar: dict[str, str]) -> Answer:
        headers = dict(request.headers)
        if jar:
            headers["Cookie"] = _cookie_header(jar)
        body = Body.of(request.body) if request.body else None
        answer = await self._transport.call(request.method, request.path, headers=headers, body=body)
        _keep_cookies(jar, answer.headers)
        return answer


def _wants_login(stream: Stream) -> bool:
    """401; or, of portals that send a person's browser on, a redirect to the form."""
    if stream.status == 401:
        return True
    return 300 <= stream.status < 400 and urlsplit(stream.headers.get("Location", "")).path.startswith(LOGIN_PATH)


def _seconds_ahead(stream: Stream, known: float) -> float:
    try:
        return parsedate_to_datetime(stream.headers["Date"]).timestamp() - time.time()
    except (KeyError, ValueError, TypeError, OverflowError):
        return known


def _cookie_header(jar: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())


def _keep_cookies(jar: dict[str, str], headers: httpx.Headers) -> None:
    """What Set-Cookie sets or, with an empty value, takes back. One host, one short exchange: paths and expiry of the
    attributes do not matter here."""
    for header in headers.get_list("Set-Cookie"):
        name, _, value = header.partition(";")[0].partition("=")
        name, value = name.strip(), value.strip()
        if value:
            jar[name] = value
        else:
            jar.pop(name, None)
