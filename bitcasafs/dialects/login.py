"""Logging in: the page, the form, and the whole exchange as a generator of requests (portal protocol 1.1).

The flow is written once and knows no library: the session layer sends what it yields (keeping cookies itself and
following no redirects) and hands back each answer.
"""

from __future__ import annotations

import html
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

from bitcasafs.dialects.messages import FORM_TYPE, Request, Response, collapse_slashes, header
from bitcasafs.dialects.refusals import decode_error
from bitcasafs.errors import LoginRefused, Malformed, ProtocolError

LOGIN_PATH = "/login"
LOGOUT_PATH = "/logout"
MAX_REDIRECTS = 5
PAGE_LIMIT_BYTES = 1024 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class LoginForm:
    """The first form of a page: where it is sent, as written in the page, and its hidden fields."""

    action: str
    hidden: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login form brought. `redirect` is a path of this portal, whatever came."""

    user: str
    password: str = field(repr=False)
    csrf_token: str = field(repr=False, default="")
    code: str = field(repr=False, default="")
    redirect: str = "/"


def render_login_page(csrf_token: str, code: str, redirect: str = "/", error: str | None = None) -> str:
    """The page, readable by clients that scrape it line by line.

    They need: the first form's tag exactly as below; each hidden input alone on its line, with this order of
    attributes and no blank before `/>`; ids of the visible inputs equal to their names; a button inside the form.
    """
    notice = f'\n<p role="alert">{html.escape(error)}</p>' if error else ""
    hidden = "\n".join(
        f'<input type="hidden" name="{name}" value="{_one_line(value)}"/>'
        for name, value in (("csrf_token", csrf_token), ("code", code), ("redirect", redirect))
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Log in</title>
</head>
<body>
<h1>Log in</h1>{notice}
<form method="POST" action="/login">
{hidden}
<p><label for="user">User</label>
<input type="text" id="user" name="user" autocomplete="username" required></p>
<p><label for="password">Password</label>
<input type="password" id="password" name="password" autocomplete="current-password" required></p>
<p><button type="submit">Log in</button></p>
</form>
</body>
</html>
"""


def parse_login_page(page: str) -> LoginForm:
    """The first form with a password field, else the first form. ProtocolError when the page has none."""
    reader = _FormReader()
    try:
        reader.feed(page[:PAGE_LIMIT_BYTES])
        reader.close()
    except (AssertionError, ValueError):
        raise ProtocolError("the login page is not HTML", page[:100]) from None
    forms = [form for form in reader.forms if form.has_password] or reader.forms
    if not forms:
        raise ProtocolError("the login page has no form", page[:100])
    return LoginForm(forms[0].action or LOGIN_PATH, dict(forms[0].hidden))


def encode_login(form: LoginForm, user: str, password: str) -> bytes:
    """The body of the POST, urlencoded: the hidden fields as they came, and the two that a person fills in."""
    fields = {**form.hidden, "user": user, "password": password}
    return urlencode(fields, errors="surrogatepass").encode("ascii")


def parse_login(fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> Credentials:
    """Malformed when user or password is missing; some clients send neither `code` nor `redirect`."""
    values = dict(fields)
    if "user" not in values or "password" not in values:
        raise Malformed("a login needs the fields user and password")
    return Credentials(
        user=values["user"],
        password=values["password"],
        csrf_token=values.get("csrf_token", ""),
        code=values.get("code", ""),
        redirect=local_path(values.get("redirect", "/")),
    )


def local_path(value: str) -> str:
    """`value` when it is a path of this portal that a browser cannot take for another host, else `/`."""
    if not value.startswith("/") or value.startswith(("//", "/\\")) or not value.isascii() or not value.isprintable():
        return "/"
    return value


def login_flow(user: str, password: str, *, origin: str = "") -> Generator[Request, Response, str]:
    """GET the page, POST the form, follow redirects; the generator's value is the path where it landed.

    `origin` is `https://host[:port]` of the portal, for redirects that are absolute; without it they are refused.
    Raises LoginRefused (the chain ended on /login), ProtocolError (no form, another origin, too many redirects), and
    what `decode_error` finds in any other answer (429 and 5xx: Busy).
    """
    page = yield from _follow(Request("GET", LOGIN_PATH), origin)
    form = parse_login_page(page.body[:PAGE_LIMIT_BYTES].decode("utf-8", "replace"))
    action = _resolve(page.path, form.action, origin)
    body = encode_login(form, user, password)
    landed = yield from _follow(Request("POST", action, {"Content-Type": FORM_TYPE}, body), origin)
    path = collapse_slashes(_path_of(landed.path))
    if path.startswith(LOGIN_PATH):
        raise LoginRefused("the portal did not take the user and password")
    return path


def _follow(request: Request, origin: str) -> Generator[Request, Response, Response]:
    for _ in range(MAX_REDIRECTS + 1):
        response = yield request
        location = header(response.headers, "Location")
        if response.status not in _REDIRECTS or location is None:
            if response.status != 200:
                raise decode_error(response.status, response.body, response.headers)
            return Response(200, request.path, response.headers, response.body)
        target = _resolve(request.path, location, origin)
        # 307 and 308 keep method and body; the others become a GET, as browsers have it.
        request = (
            Request(request.method, target, request.headers, request.body)
            if response.status in (307, 308)
            else (Request("GET", target))
        )
    raise ProtocolError(f"logging in led through more than {MAX_REDIRECTS} redirects", request.path)


def _resolve(base: str, reference: str, origin: str) -> str:
    """Path and query of a reference found at `base`. ProtocolError when it leads to another origin: the next request
    may carry the password, and always the session."""
    try:
        if "://" not in reference.partition("?")[0] and not reference.startswith("//"):
            target = urlsplit(urljoin(base, reference.strip()))
        else:
            target = urlsplit(reference.strip())
        if (target.scheme or target.netloc) and not _same_origin(target, urlsplit(origin)):
            raise ProtocolError("a redirect or form leads to another place than the portal", reference)
    except ValueError:
        raise ProtocolError("a redirect or form has no address", reference) from None
    path = collapse_slashes(target.path or "/")
    if not path.startswith("/") or _VISIBLE.fullmatch(path + target.query) is None:
        raise ProtocolError("a redirect or form has no address", reference)
    return f"{path}?{target.query}" if target.query else path


def _same_origin(target: SplitResult, origin: SplitResult) -> bool:
    default = {"http": 80, "https": 443}
    scheme = target.scheme or origin.scheme
    return (
        bool(origin.netloc)
        and scheme == origin.scheme
        and target.hostname == origin.hostname
        and (target.port or default.get(scheme)) == (origin.port or default.get(origin.scheme))
    )


def _path_of(target: str) -> str:
    return target.partition("?")[0]


def _one_line(value: str) -> str:
    return html.escape("".join(character for character in value if character.isprintable()), quote=True)


class _Form:
    def __init__(self, action: str) -> None:
        self.action = action
        self.hidden: dict[str, str] = {}
        self.has_password = False


class _FormReader(HTMLParser):
    """Collects forms; a form that is never closed ends with the page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[_Form] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form(values.get("action", "")))
            self._open = True
        elif tag == "input" and self._open:
            kind, name = values.get("type", "").lower(), values.get("name", "")
            if kind == "password":
                self.forms[-1].has_password = True
            elif kind == "hidden" and name:
                self.forms[-1].hidden[name] = values.get("value", "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False
