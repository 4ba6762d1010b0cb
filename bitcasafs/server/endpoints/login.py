"""Logging in and out, and the page between (protocol 1.1, 1.2)."""

from __future__ import annotations

import html
import logging
import secrets

from bitcasafs.dialects.cookies import session_cookie
from bitcasafs.dialects.forms import parse_form
from bitcasafs.dialects.login import LOGIN_PATH, LOGOUT_PATH, Credentials, parse_login, render_login_page
from bitcasafs.errors import Busy
from bitcasafs.server.answers import Answer, page, redirect, refusal
from bitcasafs.server.call import Call
from bitcasafs.server.metadata.interface import User
from bitcasafs.server.passwords import hash_password
from bitcasafs.server.sessions import LIFETIME_SECONDS, form_token, form_token_holds, new_token, token_hash
from bitcasafs.server.web.headers import FORM_POLICY

FORM_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


async def login_page(call: Call) -> Answer:
    """`GET /login`, with any query."""
    return _page(call, call.visitor.token)


async def login(call: Call) -> Answer:
    """`POST /login`. A failure is the page again, at this path and with 200, as all old clients understand it."""
    credentials = parse_login(parse_form(await call.body.read(FORM_BYTES)))
    portal = call.portal
    # One after another: else many passwords sent at once would all be checked before the first was counted. The name
    # comes first everywhere, so nobody who has an address waits for a name.
    async with portal.names.turn(credentials.user), portal.addresses.turn(call.client):
        checked = await _check(call, credentials)
    if not isinstance(checked, User):
        return checked
    token = await _begin_session(call, checked, credentials)
    target = "/" if credentials.redirect.startswith((LOGIN_PATH, LOGOUT_PATH)) else credentials.redirect
    return redirect(target, headers=_cookie(call, token))


async def _check(call: Call, credentials: Credentials) -> User | Answer:
    """Who it is, or the answer to who is not let in. Busy."""
    portal = call.portal
    wait_seconds = await portal.threads.read(portal.metadata.login_delay, credentials.user, call.client)
    if wait_seconds > 0:
        error = Busy("too many wrong passwords: wait a little", applied=False, retry_after_seconds=wait_seconds)
        return refusal(error, status=429)
    if not form_token_holds(call.visitor, credentials.csrf_token):
        return _page(call, call.visitor.token, error="This form was too old. Please log in again.")
    user = await portal.threads.read(portal.metadata.user, credentials.user)
    if not await portal.passwords.check(credentials.password, user.password_hash if user else None) or user is None:
        await portal.threads.write(portal.metadata.record_failed_login, credentials.user, call.client)
        _log.info("a login was refused")
        return _page(call, call.visitor.token, error="The user or the password is wrong.")
    return user


async def logout(call: Call) -> Answer:
    """`GET /logout`: ends the session, if there is one, and shows the form to somebody new."""
    if call.visitor.token is not None and call.visitor.session is not None:
        ended = token_hash(call.visitor.token)
        await call.portal.threads.write(call.portal.metadata.end_session, ended)
        call.portal.sessions.forget(ended)
    return _page(call, None)


async def home(call: Call) -> Answer:
    """`GET /`: for those without a session it leads to the form."""
    session = call.visitor.session
    if session is None or session.user is None:
        return redirect(LOGIN_PATH)
    return page(
        _HOME.format(user=html.escape(session.user_name or "")), headers={"Content-Security-Policy": FORM_POLICY}
    )


async def _begin_session(call: Call, user: User, credentials: Credentials) -> str:
    """A new id, so that one that somebody planted before the login is worth nothing after it."""
    portal, old = call.portal, call.visitor.token
    token = old if portal.keep_session_id and old is not None else new_token()

    def begin() -> None:
        portal.metadata.record_login(user.name)
        if portal.passwords.is_outdated(user.password_hash):
            portal.metadata.set_password_hash(user.id, hash_password(credentials.password))
        portal.metadata.rotate_session(
            token_hash(old or token),
            token_hash(token),
            user.id,
            form_token(token),
            lifetime_seconds=LIFETIME_SECONDS,
        )

    await portal.threads.write(begin)
    portal.sessions.forget(token_hash(old or token))
    return token


def _page(call: Call, token: str | None, *, error: str | None = None) -> Answer:
    """The form, with the visitor's own id where there is one: a form in another tab stays good."""
    shown_to = token or new_token()
    text = render_login_page(form_token(shown_to), secrets.token_hex(16), error=error)
    headers = {"Content-Security-Policy": FORM_POLICY}
    return page(text, headers=headers if token is not None else {**headers, **_cookie(call, shown_to)})


def _cookie(call: Call, token: str) -> dict[str, str]:
    return {"Set-Cookie": session_cookie(token, secure=call.portal.is_secure)}


_HOME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>BitcasaFS</title>
</head>
<body>
<h1>BitcasaFS</h1>
<p>Logged in as {user}. <a href="/logout">Log out</a></p>
</body>
</html>
"""
