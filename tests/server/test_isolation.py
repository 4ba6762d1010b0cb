"""One user never sees nor changes another's drive: every route, asked for another's items in every place where it names
items. Generated from the route table, so a new route is tested, or fails here until somebody says how it names items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from bitcasafs.dialects.names import quote_path
from bitcasafs.server.routes import ROUTES, Names, Route
from bitcasafs.values.items import Address, AttributeChange, NodeId
from bitcasafs.values.operations import (
    Delete,
    Made,
    Mkdir,
    Move,
    OnExisting,
    Operation,
    Place,
    Put,
    SetAttributes,
    Symlink,
)
from tests.support.portal_session import Drive, batch_body, connected, lines
from tests.support.server import RunningServer

SECRET = b"a secret of bob"
NAME = "bobs secret.txt"


@dataclass(frozen=True, slots=True)
class Scene:
    """Ann asks; what Bob has is named by `paths` (by name and by node), `id` and `version`."""

    ann: Drive
    bob: Drive
    folder_paths: tuple[str, ...]
    file_paths: tuple[str, ...]
    id: str
    version: str
    own_id: str


@pytest.fixture(scope="module")
def scene(server: RunningServer) -> Iterator[Scene]:
    with Drive.of(server, "ann") as ann, Drive.of(server, "bob") as bob:
        folder = bob.make_folder("bobs folder")
        item = bob.upload(NAME, SECRET, "bobs folder")
        yield Scene(
            ann,
            bob,
            folder_paths=(bob.path, bob.at("bobs folder"), f"/.node/{folder['node']}", f"/.node/{folder['parent']}"),
            file_paths=(bob.at(f"bobs folder/{NAME}"), f"/.node/{item['node']}", f"/.node/{folder['node']}/{NAME}"),
            id=item["id"],
            version=item["version"],
            own_id=ann.upload("own.txt", b"own")["id"],
        )


Asked = Iterator[httpx.Response]


def by_url_path(route: Route, scene: Scene) -> Asked:
    for path in scene.folder_paths + scene.file_paths:
        for named in (path, f"{path}/new"):
            url = route.template.format(path=quote_path(named))
            yield scene.ann.client.request(route.method, url)


def by_url_id(route: Route, scene: Scene) -> Asked:
    yield scene.ann.client.request(route.method, route.template.format(id=scene.id, name="x"))


def by_query_version(route: Route, scene: Scene) -> Asked:
    url = route.template.format(id=scene.own_id, name="x")
    yield scene.ann.client.request(route.method, url, params={"version": scene.version})


def by_query_path(route: Route, scene: Scene) -> Asked:
    for path in scene.folder_paths + scene.file_paths:
        file = {"file": ("planted.txt", b"planted")}
        yield scene.ann.client.request(route.method, route.template, params={"path": path}, files=file)


def by_form_from(route: Route, scene: Scene) -> Asked:
    for path in scene.folder_paths + scene.file_paths:
        fields = {"from": path, "to": scene.ann.at("stolen")}
        yield scene.ann.client.request(route.method, route.template, data=fields)


def by_form_to(route: Route, scene: Scene) -> Asked:
    for path in scene.folder_paths + scene.file_paths:
        for exists in ("fail", "overwrite", "exchange"):
            fields = {"from": scene.ann.at("own.txt"), "to": f"{path}/planted", "exists": exists}
            yield scene.ann.client.request(route.method, route.template, data=fields)
            yield scene.ann.client.request(route.method, route.template, data={**fields, "to": path})


def by_form_selection(route: Route, scene: Scene) -> Asked:
    for path in scene.folder_paths + scene.file_paths:
        fields = {"selection": json.dumps({"paths": [path]})}
        yield scene.ann.client.request(route.method, route.template, data=fields)


def by_batch(route: Route, scene: Scene) -> Asked:
    """Answers each line as an answer of its own: the batch as a whole is always 200."""
    own = Address(scene.ann.at("own.txt"))
    for path in scene.folder_paths + scene.file_paths:
        node = path.split("/")
        theirs = Address(path, NodeId(node[2])) if path.startswith("/.node/") and len(node) == 3 else Address(path)
        over = OnExisting.OVERWRITE
        operations: list[tuple[Operation, bytes] | Operation] = [
            Mkdir(theirs, "planted", OnExisting.MERGE),
            (Put(theirs, NAME, 3, over), b"bad"),
            Symlink(theirs, "planted", "/", over),
            SetAttributes(theirs, AttributeChange({"mode": 0o777})),
            Move(theirs, Address(scene.ann.path), "stolen"),
            Move(own, theirs, NAME, over),
            Move(own, theirs, NAME, OnExisting.EXCHANGE),
            Delete(theirs, recursive=True),
            Delete(Place(theirs, NAME)),
            Move(Place(theirs, NAME), Address(scene.ann.path), "stolen"),
            SetAttributes(Made(0), AttributeChange({"mode": 0o777})),
        ]
        answer = scene.ann.client.request(route.method, route.template, content=batch_body(operations))
        assert answer.status_code == 200
        said = lines(answer)
        assert len(said) == len(operations)
        for line in said:
            yield httpx.Response(line["status"], json=line)


ASK: dict[Names, Callable[[Route, Scene], Asked]] = {
    Names.URL_PATH: by_url_path,
    Names.URL_ID: by_url_id,
    Names.QUERY_PATH: by_query_path,
    Names.QUERY_VERSION: by_query_version,
    Names.FORM_FROM: by_form_from,
    Names.FORM_TO: by_form_to,
    Names.FORM_SELECTION: by_form_selection,
    Names.BATCH: by_batch,
}


@pytest.mark.parametrize(
    ("route", "names"),
    [
        pytest.param(route, names, id=f"{route.method} {route.template} {names.value}")
        for route in ROUTES
        for names in route.names
    ],
)
def test_a_second_user_is_told_no_and_nothing_else(scene: Scene, route: Route, names: Names) -> None:
    before = (scene.bob.rows(), scene.bob.rows("bobs folder"))
    asked = 0
    for answer in ASK[names](route, scene):
        asked += 1
        # 410: a foreign version looks as one of our own that is no longer kept; 400: the form itself is none.
        assert answer.status_code in (400, 403, 404, 410, 422, 424), answer.text
        assert SECRET not in answer.content
        assert b"digests" not in answer.content
    assert asked > 0
    assert (scene.bob.rows(), scene.bob.rows("bobs folder")) == before
    assert "stolen" not in scene.ann.rows()


def test_every_route_that_needs_a_session_and_is_not_about_its_user_alone_says_where_it_names_items() -> None:
    about_the_user = {"/profile"}
    for route in ROUTES:
        assert route.public or route.names or route.template in about_the_user, route.template


@pytest.mark.parametrize("route", [pytest.param(route, id=f"{route.method} {route.template}") for route in ROUTES])
def test_without_a_session_only_the_public_routes_answer(server: RunningServer, scene: Scene, route: Route) -> None:
    url = route.template.format(path=scene.bob.path, id=scene.id, name="x")
    with connected(server) as nobody:
        answer = nobody.request(route.method, url)
        invented = nobody.request(route.method, url, headers={"Cookie": f"sessionid={'0' * 64}"})
    if route.public:
        assert answer.status_code != 401
    else:
        assert answer.status_code == invented.status_code == 401
    assert SECRET not in answer.content
