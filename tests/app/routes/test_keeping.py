"""Pictures over HTTP that are looked for, judged, tagged, deleted and restored."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.jobs.store import Image, Job, Store

IMAGES = "/api/v1/images"

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def made(submit: Submit, develop: Callable[[], Job]) -> list[Image]:
    """Three published pictures: a cat, a dog, and a large cat."""
    wishes = [{"prompt": "a red cat"}, {"prompt": "a dog", "seed": 9}, {"prompt": "a cat", "width": 256, "steps": 30}]
    pictures = []
    for wish in wishes:
        submit(**wish)
        pictures.append(develop().images[0])
    return pictures


def found(client: TestClient, query: str) -> list[str]:
    response = client.get(f"{IMAGES}?{query}")
    assert response.status_code == 200, response.text
    return [image["id"] for image in response.json()["items"]]


def test_pictures_are_found_by_what_is_written_and_by_parameters(client: TestClient, made: list[Image]) -> None:
    cat, dog, large = (image.id for image in made)
    client.patch(f"{IMAGES}/{dog}", json={"favourite": True, "rating": 4, "tags": ["For Print"]})
    assert found(client, "") == [large, dog, cat]
    assert found(client, "q=cat") == [large, cat]
    assert found(client, "q=cat%20steps:>20") == [large]
    assert found(client, "q=%22red%20cat%22") == [cat]
    assert found(client, "min_width=200") == [large]
    assert found(client, "seed=9") == found(client, "favourite=true") == found(client, "rating=>%3D4") == [dog]
    assert found(client, "favourite=false") == [large, cat]
    assert found(client, "tag=for%20print") == found(client, "q=tag:%22for%20print%22") == [dog]
    assert found(client, "task=text_to_image&model=storybook&sampler=ddim&q=dog") == [dog]
    assert found(client, "model=other") == found(client, "task=inpaint") == found(client, "before=2001-01-01") == []
    assert found(client, "after=2001-01-01T00:00:00Z&rating=0") == [large, cat]


def test_the_next_page_of_a_search_is_of_the_same_search(client: TestClient, made: list[Image]) -> None:
    first = client.get(f"{IMAGES}?q=cat&limit=1")
    second = client.get(first.links["next"]["url"])
    assert [image["id"] for image in first.json()["items"] + second.json()["items"]] == [made[2].id, made[0].id]
    assert second.json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ("q=steps:many", "q", "at character 1: steps must be a whole number from 0 to 1000"),
        ("q=colour:red", "q", "a field must be one of model:, sampler:"),
        ("q=%22cat", "q", "a quotation mark must be closed"),
        ("q=" + "a" * 501, "q", "must have at most 500 characters"),
        ("task=swordfish", "task", "must be one of text_to_image, "),
        ("rating=swordfish", "rating", "must be a whole number from 0 to 5"),
        ("rating=6", "rating", "must be a whole number from 0 to 5"),
        ("after=swordfish", "after", "must be a day such as 2026-01-31"),
        ("tag=sword%2Ffish", "tag", "must be 1 to 40 letters"),
        ("model=sword%00fish", "model", "must be a name of 1 to 200 characters"),
        ("seed=-1", "seed", "must be at least 0"),
        ("min_width=swordfish", "min_width", "must be a whole number"),
        ("favourite=swordfish", "favourite", "must be true or false"),
        ("cursor=swordfish&q=cat", "cursor", "must come from the rel=next link of a page"),
    ],
)
def test_a_search_that_cannot_be_read_is_refused_with_what_is_allowed(
    client: TestClient, query: str, parameter: str, said: str
) -> None:
    response = client.get(f"{IMAGES}?{query}")
    assert response.status_code == 422
    (fault,) = response.json()["errors"]
    assert fault["parameter"] == parameter
    assert said in fault["detail"]
    assert "swordfish" not in response.text


def test_whatever_is_searched_for_is_answered(client: TestClient, made: list[Image]) -> None:
    pieces = st.sampled_from(["model:", "steps:>", "tag:", "after:", '"', " ", "*", "'", "--", ")", "NEAR(", "^", "\0"])
    mixed = st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=12).map("".join)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(q=st.one_of(st.text(max_size=40), mixed))
    def ask(q: str) -> None:
        response = client.get(IMAGES, params={"q": q.encode(errors="replace")})
        assert response.status_code in (200, 422), response.text
        if response.status_code == 422:
            assert response.json()["errors"][0]["parameter"] == "q"

    ask()


def test_an_opinion_is_told_and_kept(client: TestClient, made: list[Image]) -> None:
    url = f"{IMAGES}/{made[0].id}"
    said = client.patch(url, json={"favourite": True, "rating": 5, "tags": ["Snow", "for  print", "snow"]})
    assert said.status_code == 200
    assert said.json() == client.get(url).json()
    assert {name: said.json()[name] for name in ("favourite", "rating", "tags")} == {
        "favourite": True,
        "rating": 5,
        "tags": ["for print", "snow"],
    }
    again = client.patch(url, json={"rating": 0, "favourite": None})
    assert (again.json()["rating"], again.json()["favourite"], again.json()["tags"]) == (0, True, ["for print", "snow"])
    assert client.patch(url, json={}).json() == again.json()


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({"rating": 6}, "#/rating", "must be at most 5"),
        ({"rating": 2.5}, "#/rating", "must be a whole number"),
        ({"rating": True}, "#/rating", "must be a whole number"),
        ({"favourite": "yes"}, "#/favourite", "must be true or false"),
        ({"tags": ["a/b"]}, "#/tags/0", "must be 1 to 40 letters, digits, spaces, "),
        ({"tags": [" "]}, "#/tags/0", "must be 1 to 40 letters, digits, spaces, "),
        ({"tags": ["a" * 41]}, "#/tags/0", "must be 1 to 40 letters, digits, spaces, "),
        ({"tags": ["\0"]}, "#/tags/0", "must be 1 to 40 letters, digits, spaces, "),
        ({"tags": [str(number) for number in range(21)]}, "#/tags", "must be at most 20 of them"),
        ({"tags": "snow"}, "#/tags", "must be a list"),
        ({"tag": "snow"}, "#/tag", "is not known here; known are favourite, rating, tags"),
    ],
)
def test_an_opinion_that_makes_no_sense_is_refused(
    client: TestClient, made: list[Image], body: dict[str, Any], pointer: str, said: str
) -> None:
    response = client.patch(f"{IMAGES}/{made[0].id}", json=body)
    assert response.status_code == 422
    (fault,) = response.json()["errors"]
    assert fault["pointer"] == pointer
    assert said in fault["detail"]


def test_a_deleted_picture_is_not_there_until_it_is_restored(client: TestClient, made: list[Image]) -> None:
    url = f"{IMAGES}/{made[0].id}"
    for _ in range(2):
        deleted = client.delete(url)
        assert (deleted.status_code, deleted.content) == (204, b"")
    for part in ("", "/content", "/thumbnail/256"):
        assert client.get(url + part).status_code == 404
    assert client.get(f"/images/{made[0].id}").status_code == 404
    assert client.patch(url, json={"rating": 1}).status_code == 404
    assert client.get(f"/api/v1/jobs/{made[0].job_id}").json()["images"] == []
    assert made[0].id not in found(client, "") + found(client, "q=red")
    (kept,) = client.get(f"{IMAGES}?deleted=true&q=red").json()["items"]
    assert kept["id"] == made[0].id
    assert kept["deleted_at"] is not None
    for _ in range(2):
        restored = client.post(f"{url}/restore")
        assert restored.status_code == 200
        assert restored.json()["deleted_at"] is None
    assert client.get(f"{url}/content").status_code == 200


def test_many_pictures_are_deleted_restored_and_tagged_and_those_not_there_are_told(
    client: TestClient, made: list[Image]
) -> None:
    first, second, third = (image.id for image in made)
    strange = "0" * 32

    def ask(**body: Any) -> dict[str, Any]:
        response = client.post(f"{IMAGES}/bulk", json=body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    for _ in range(2):
        told = ask(action="delete", ids=[second, strange, first])
        assert told == {"done": [second, first], "not_found": [strange]}
    assert found(client, "") == [third]
    assert ask(action="restore", ids=[second, third]) == {"done": [second, third], "not_found": []}
    assert ask(action="tag", ids=[first, second], add=["Snow", "a"]) == {"done": [second], "not_found": [first]}
    assert ask(action="tag", ids=[second, third], add=["b"], remove=["a"])["done"] == [second, third]
    assert [client.get(f"{IMAGES}/{id}").json()["tags"] for id in (second, third)] == [["b", "snow"], ["b"]]


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({"action": "burn", "ids": ["0" * 32]}, "#/action", "must be one of 'delete', 'restore', 'tag'"),
        ({"ids": ["0" * 32]}, "#/action", "is required"),
        ({"action": "delete", "ids": []}, "#/ids", "must be at least 1 of them"),
        ({"action": "delete", "ids": ["0" * 32] * 501}, "#/ids", "must be at most 500 of them"),
        ({"action": "delete", "ids": ["A" * 32]}, "#/ids/0", "must match ^[0-9a-f]{32}$"),
        ({"action": "delete", "ids": ["0" * 32 + "\n"]}, "#/ids/0", "must match ^[0-9a-f]{32}$"),
        ({"action": "delete", "ids": ["0" * 32], "add": ["a"]}, "#/add", "is not known here; known are action, ids"),
        ({"action": "tag", "ids": ["0" * 32], "add": ["#"]}, "#/add/0", "must be 1 to 40 letters"),
    ],
)
def test_a_bulk_change_that_makes_no_sense_is_refused(
    client: TestClient, body: dict[str, Any], pointer: str, said: str
) -> None:
    response = client.post(f"{IMAGES}/bulk", json=body)
    assert response.status_code == 422
    (fault,) = response.json()["errors"]
    assert fault["pointer"] == pointer
    assert said in fault["detail"]


def test_too_many_tags_change_nothing(client: TestClient, made: list[Image]) -> None:
    url = f"{IMAGES}/{made[0].id}"
    client.patch(url, json={"tags": [f"t{number}" for number in range(20)]})
    response = client.post(f"{IMAGES}/bulk", json={"action": "tag", "ids": [made[0].id], "add": ["one more"]})
    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "#/tags", "detail": "must be at most 20 on an image"}]
    assert len(client.get(url).json()["tags"]) == 20


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PATCH", "", {}), ("DELETE", "", None), ("POST", "/restore", None)],
)
def test_somebody_elses_picture_cannot_be_touched(
    client: TestClient,
    store: Store,
    make_params: Callable[..., Any],
    develop: Callable[[], Job],
    method: str,
    path: str,
    body: Any,
) -> None:
    store.submit(make_params(), "somebody-else")
    theirs = develop().images[0]
    for id in (theirs.id, "0" * 32, "x", "%00"):
        assert client.request(method, f"{IMAGES}/{id}{path}", json=body).status_code == 404
    assert store.image(theirs.id, "somebody-else") == theirs
