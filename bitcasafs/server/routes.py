"""The one table of what this server answers: method, path, endpoint, and where a request names items.

Who uses: the dispatcher, and the isolation test, which asks every route for another user's items in every place that
`names` lists; a route without its row of places is not tested for isolation, so it is refused at import.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bitcasafs.dialects import batch as batch_dialect
from bitcasafs.dialects import discovery as discovery_dialect
from bitcasafs.dialects import profile as profile_dialect
from bitcasafs.dialects.login import LOGIN_PATH, LOGOUT_PATH
from bitcasafs.server.call import Endpoint
from bitcasafs.server.endpoints.batch import batch
from bitcasafs.server.endpoints.changes import delete, make_folder, rename
from bitcasafs.server.endpoints.download import download
from bitcasafs.server.endpoints.facts import discovery, profile
from bitcasafs.server.endpoints.listing import list_folder
from bitcasafs.server.endpoints.login import home, login, login_page, logout
from bitcasafs.server.endpoints.upload import upload


class Names(enum.Enum):
    """A place of a request where an item is named."""

    URL_PATH = "path in the URL"
    URL_ID = "id in the URL"
    QUERY_PATH = "path in the query"
    QUERY_VERSION = "version in the query"
    FORM_FROM = "from in the form"
    FORM_TO = "to in the form"
    FORM_SELECTION = "selection in the form"
    BATCH = "targets in a batch"


_CAPTURES: Mapping[str, str] = {
    # The rest of the path, of any characters: a name may hold a line feed.
    "path": r"(?P<path>(?:/.*)?)",
    "id": r"(?P<id>[^/]+)",
    "name": r"(?P<name>[^/]*)",
}


@dataclass(frozen=True, slots=True)
class Route:
    """`template`: a path with {path}, {id} or {name} in it; a trailing slash more or less does not matter. `public`:
    answered without a session. `extension`: belongs to part 2."""

    method: str
    template: str
    endpoint: Endpoint
    names: tuple[Names, ...] = ()
    public: bool = False
    extension: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", self.template.rstrip("/"))
        text = "".join(_CAPTURES[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))
        return re.compile(text + "/?", re.DOTALL)


ROUTES = (
    Route("GET", LOGIN_PATH, login_page, public=True),
    Route("POST", LOGIN_PATH, login, public=True),
    Route("GET", LOGOUT_PATH, logout, public=True),
    Route("GET", "/", home, public=True),
    Route("GET", discovery_dialect.PATH, discovery, public=True, extension=True),
    Route("GET", profile_dialect.PATH, profile),
    Route("GET", "/directory{path}", list_folder, (Names.URL_PATH,)),
    Route("POST", "/directory{path}", make_folder, (Names.URL_PATH,)),
    Route("GET", "/file/{id}", download, (Names.URL_ID, Names.QUERY_VERSION)),
    Route("GET", "/file/{id}/download/{name}", download, (Names.URL_ID, Names.QUERY_VERSION)),
    Route("POST", "/files", upload, (Names.QUERY_PATH,)),
    Route("POST", "/rename/", rename, (Names.FORM_FROM, Names.FORM_TO)),
    Route("POST", "/delete", delete, (Names.FORM_SELECTION,)),
    Route("POST", batch_dialect.PATH, batch, (Names.BATCH,), extension=True),
)


class RouteTable:
    """Which route a request takes. HEAD is a GET whose body nobody sees."""

    def __init__(self, *, extended: bool, routes: tuple[Route, ...] = ROUTES) -> None:
        self._routes = [(route, route.pattern) for route in routes if extended or not route.extension]

    def find(self, method: str, path: str) -> tuple[Route | None, Mapping[str, str], frozenset[str]]:
        """The route and what it captured; or None, and the methods that this path does have."""
        wanted = "GET" if method == "HEAD" else method
        allowed = set()
        for route, pattern in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == wanted:
                return route, match.groupdict(), frozenset()
            allowed.add(route.method)
        if "GET" in allowed:
            allowed.add("HEAD")
        return None, {}, frozenset(allowed)
