"""What holds on every route there is, whoever adds one: errors are problems, and another's ids are nobody's."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from app.deps import principal
from app.errors import MEDIA_TYPE
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import StoreUnavailable
from app.jobs.spec import TASKS
from app.jobs.store import LOCAL, Job, Limits, Store
from tests.app.pictures import photo
from tests.app.test_keys import OPEN, all_routes, bearer

JOBS, UPLOADS = "/api/v1/jobs", "/api/v1/uploads"
WISH = {"task": "text_to_image", "prompt": "a cat", "steps": 4}
UNBOUND = Limits(requests_per_minute=0)
JSON = {"accept": "application/json"}
NOBODY_S = "0" * 32
SECRET = "swordfish"

# What stands for a parameter of a path beside the id of a thing.
PARAMETERS = {
    "token": NOBODY_S,
    "rater_id": NOBODY_S,
    "trial_id": NOBODY_S,
    "role": "image",
    "side": "256",
    "step": "1",
    "model": "storybook",
}

# Their errors have shapes of their own, and so have their tests.
DIALECTS = ("/v1/", "/sdapi/")

TRAVERSALS = ("..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2fetc%2fpasswd", "..%5c..%5cetc", "%00", "....//", "a%0d%0ab")


class Ids(NamedTuple):
    """Things of somebody's, one of each kind."""

    job: str = NOBODY_S
    image: str = NOBODY_S
    upload: str = NOBODY_S

    def of(self, path: str) -> str:
        """The id that a path speaks of."""
        return self.image if "/images/" in path else self.upload if "/uploads/" in path else self.job


@pytest.fixture
def entry(entry: CatalogueEntry) -> CatalogueEntry:
    """A model that does everything."""
    return entry.model_copy(update={"tasks": list(TASKS), "scale": 4})


@pytest.fixture
def ann(store: Store) -> dict[str, str]:
    """The headers of somebody with a key."""
    return bearer(store.keys.create("ann", limits=UNBOUND).token) | JSON


@pytest.fixture
def bob(store: Store) -> dict[str, str]:
    """The headers of somebody else with a key."""
    return bearer(store.keys.create("bob", limits=UNBOUND).token) | JSON


@pytest.fixture
def hers(client: TestClient, ann: dict[str, str], develop: Callable[[], Job]) -> Ids:
    """What belongs to Ann."""
    client.post(JOBS, json=WISH | {"prompt": f"a {SECRET}"}, headers=ann)
    done = develop()
    upload = client.post(UPLOADS, content=photo(), headers={**ann, "content-type": "image/png"}).json()["id"]
    return Ids(done.id, done.images[0].id, upload)


def guarded(app: FastAPI) -> Iterator[tuple[str, APIRoute]]:
    """Every method and route that needs a key."""
    for route in all_routes(app):
        if route.path not in OPEN:
            yield from ((method, route) for method in sorted(route.methods or ()))


def path_of(route: APIRoute, ids: Ids) -> str:
    filled = route.path.replace("{id}", ids.of(route.path))
    return re.sub(r"{(\w+)(:\w+)?}", lambda match: PARAMETERS.get(match[1], NOBODY_S), filled)


def bodies(method: str, ids: Ids) -> Iterator[dict[str, Any]]:
    """Bodies of every kind that name what the ids are of, in all the ways that anything here is named."""
    yield {}
    if method in ("GET", "HEAD"):
        return
    wish = {**WISH, "task": "image_to_image"}
    yield from ({"json": wish | {"image": f"image:{ids.image}"}}, {"json": wish | {"image": f"upload:{ids.upload}"}})
    yield from ({"json": {"action": "delete", "ids": [ids.image]}}, {"json": {"ids": [ids.image]}})
    named = {"ids": [ids.image], "image": f"image:{ids.image}", "mask": f"upload:{ids.upload}", "prompt": "a cat"}
    yield from ({"data": named}, {"data": named, "files": {"file": ("a.png", b"no picture", "image/png")}})


def query_names(dependant: Dependant) -> set[str]:
    """The names of all that a query may say to a route, and to what it depends on."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*(query_names(each) for each in dependant.dependencies))


def queries(route: APIRoute, ids: Ids) -> Iterator[dict[str, str]]:
    """Queries that name the ids wherever anything can be said."""
    names = query_names(route.dependant)
    # A long wait says the same as the row, and takes its time.
    names -= {"wait", "until"}
    for said in (ids.image, ids.upload, f"image:{ids.image}") if names else ():
        yield dict.fromkeys(sorted(names), said)


def answers(client: TestClient, app: FastAPI, ids: Ids, headers: dict[str, str]) -> dict[str, tuple[int, str]]:
    """What every route says to every request that names the ids, without what differs from one request to the next."""
    said = {}
    for method, route in guarded(app):
        if route.path.startswith(DIALECTS) and "{" not in route.path:
            continue  # it names nothing of anybody's, and what it is asked for it waits for
        asked = [{"params": query} for query in queries(route, ids)] + list(bodies(method, ids))
        for number, each in enumerate(asked):
            response = client.request(method, path_of(route, ids), headers=headers, **each)
            assert response.status_code < 500, (method, route.path, response.text)
            assert SECRET not in response.text, (method, route.path)
            text = re.sub(r"[0-9a-f]{32}", "ID", response.text) if "{id}" in route.path else ""
            said[f"{method} {route.path} {number}"] = (response.status_code, text)
    return said


def test_to_whoever_guesses_it_another_s_id_is_as_one_that_nothing_has(
    client: TestClient, app: FastAPI, hers: Ids, ann: dict[str, str], bob: dict[str, str], store: Store
) -> None:
    waiting = client.post(JOBS, json=WISH, headers=ann).json()["id"]
    unknown = answers(client, app, Ids(), bob)
    assert answers(client, app, hers._replace(job=waiting), bob) == unknown
    by_path = {name: status for name, (status, _) in unknown.items() if "{id}" in name}
    assert len(by_path) > 30
    assert {name: status for name, status in by_path.items() if status not in (404, 415, 422)} == {}
    assert store.get(hers.job, "ann").images[0].id == hers.image
    assert store.get(waiting, "ann").state == "queued"


def test_every_parameter_of_a_path_is_one_that_these_tests_know(app: FastAPI) -> None:
    found = {name for _, route in guarded(app) for name in re.findall(r"{(\w+)", route.path)}
    assert found - {"id"} == set(PARAMETERS), "say in PARAMETERS what stands for a new one"


def test_to_its_owner_the_same_ids_are_there(client: TestClient, app: FastAPI, hers: Ids, ann: dict[str, str]) -> None:
    seen = [
        client.request(method, path_of(route, hers), headers=ann).status_code
        for method, route in guarded(app)
        if "{id}" in route.path and method in ("GET", "HEAD")
    ]
    assert seen.count(200) > len(seen) / 2


def test_no_string_in_a_path_leads_anywhere_else(client: TestClient, app: FastAPI) -> None:
    for method, route in guarded(app):
        for string in TRAVERSALS if "{" in route.path else ():
            path = re.sub(r"{\w+(:\w+)?}", string, route.path)
            response = client.request(method, path, headers=JSON)
            assert response.status_code in (404, 405, 415, 422), (method, path, response.status_code)
            assert "root:" not in response.text
            assert "etc" not in response.text


@pytest.mark.parametrize("path", [f"/static/{string}" for string in TRAVERSALS] + ["/static/", "/static/../main.py"])
def test_no_string_leads_out_of_the_static_files(client: TestClient, path: str) -> None:
    response = client.get(path, headers=JSON)
    assert response.status_code == 404
    assert response.headers["content-type"] == MEDIA_TYPE


def problems(client: TestClient, app: FastAPI, status: int, headers: dict[str, str], **sent: Any) -> int:
    """How many routes answer so, all of them with a problem."""
    tried = 0
    for method, route in guarded(app):
        response = client.request(method, path_of(route, Ids()), headers=JSON | headers, **sent)
        assert response.status_code == status, (method, route.path, response.status_code, response.text)
        if method != "HEAD" and not route.path.startswith(DIALECTS):
            assert response.headers["content-type"] == MEDIA_TYPE, (method, route.path)
            assert response.json()["status"] == status
        tried += 1
    return tried


def test_a_method_that_a_route_does_not_offer_is_a_problem(client: TestClient, app: FastAPI) -> None:
    for path in {path_of(route, Ids()) for _, route in guarded(app) if not route.path.startswith(DIALECTS)}:
        response = client.request("QUERY", path, headers=JSON)
        assert response.status_code == 405, path
        assert response.headers["content-type"] == MEDIA_TYPE
        assert response.headers["allow"]


def test_a_body_that_is_too_large_is_a_problem_on_every_route(client: TestClient, app: FastAPI) -> None:
    assert problems(client, app, 413, {"content-length": str(1 << 30)}, content=b"") > 20


def test_who_asks_too_often_is_told_so_on_every_route(
    client: TestClient, app: FastAPI, store: Store, ann: dict[str, str]
) -> None:
    store.keys.limit("ann", Limits(requests_per_minute=1))
    client.get(JOBS, headers=ann)
    assert problems(client, app, 429, ann) > 20


def test_a_defect_is_a_problem_on_every_route_and_says_nothing(client: TestClient, app: FastAPI) -> None:
    def broken() -> None:
        raise RuntimeError("swordfish")

    app.dependency_overrides[principal] = broken
    with capture_logs() as said:
        tried = problems(client, app, 500, {})
    assert tried > 20
    assert len([event for event in said if event["event"] == "request.failed"]) >= tried


def test_a_database_that_is_away_is_a_problem_on_every_route(client: TestClient, app: FastAPI) -> None:
    def away() -> None:
        raise StoreUnavailable("away")

    app.dependency_overrides[principal] = away
    assert problems(client, app, 503, {}) > 20


def test_what_is_sent_wrongly_is_a_problem_on_every_route_and_not_repeated(client: TestClient, app: FastAPI) -> None:
    app.dependency_overrides[principal] = lambda: LOCAL
    marker = SECRET
    sent: list[dict[str, Any]] = [
        {"content": marker, "headers": {"content-type": "text/plain"}},
        {"content": marker, "headers": {"content-type": "application/json"}},
        {"json": {marker: marker, "task": marker, "ids": marker}},
        {"data": {marker: marker, "seed": marker, "size": marker, "cursor": marker}},
        {"content": marker, "headers": {"content-type": f"multipart/form-data; boundary={marker}"}},
        {"content": marker, "headers": {"content-type": "image/png"}},
    ]
    for method, route in guarded(app):
        if route.path.startswith(DIALECTS):
            continue
        names = query_names(route.dependant)
        for each in sent if method == "POST" else [{}]:
            headers = JSON | each.get("headers", {})
            query = dict.fromkeys(names, marker)
            body = {name: value for name, value in each.items() if name != "headers"}
            response = client.request(method, path_of(route, Ids()), params=query, headers=headers, **body)
            assert response.status_code < 500, (method, route.path, response.text)
            if response.status_code >= 400 and method != "HEAD" and response.headers["content-type"] == MEDIA_TYPE:
                said = {key: value for key, value in response.json().items() if key != "errors"}
                assert marker not in str(said).replace(f"{marker} is not known here", ""), (method, route.path)
