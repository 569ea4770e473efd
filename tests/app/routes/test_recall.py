"""A picture that holds its recipe fills the form with it."""

import io
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pixels

from app.jobs.recipe import Recipe, embedding
from app.jobs.spec import Format

RECIPE = Recipe(
    prompt='a fox & "a hound"', negative_prompt="snow", model="storybook", width=96, height=64, steps=12, seed=0
)


def picture_of(recipe: Recipe, format: Format = "png") -> bytes:
    return plain_picture(format, **embedding(recipe, format))


def plain_picture(format: Format = "png", **said: Any) -> bytes:
    file = io.BytesIO()
    Pixels.new("RGB", (8, 8), (200, 60, 20)).save(file, format.upper(), **said)
    return file.getvalue()


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_a_picture_of_ours_leads_to_the_form_with_its_recipe(client: TestClient, format: Format) -> None:
    response = client.post("/recall", files={"file": ("fox", picture_of(RECIPE, format))})
    assert response.status_code == 303, response.text
    where = urlsplit(response.headers["location"])
    said = {name: values[0] for name, values in parse_qs(where.query).items()}
    assert (where.path, said) == (
        "/",
        {
            "prompt": 'a fox & "a hound"',
            "negative_prompt": "snow",
            "model": "storybook",
            "size": "96x64",
            "steps": "12",
            "seed": "0",
        },
    )
    page = client.get(response.headers["location"]).text
    assert ">a fox &amp; &#34;a hound&#34;</textarea>" in page
    assert "<details open>" in page


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no picture at all", "must be a whole PNG"),
        (picture_of(RECIPE)[:40], "must be a whole PNG"),
        (plain_picture(), "must hold a recipe"),
    ],
    ids=["text", "torn", "plain"],
)
def test_what_holds_no_recipe_is_said_in_plain_words(client: TestClient, data: bytes, said: str) -> None:
    response = client.post("/recall", files={"file": ("fox.png", data)}, headers={"accept": "text/html"})
    assert response.status_code == 422
    assert said in response.text
    assert 'href="/" role="button"' in response.text


def test_a_picture_as_large_as_an_upload_may_be_recalled(client: TestClient) -> None:
    large = picture_of(RECIPE) + b"\0" * (2 << 20)
    assert client.post("/recall", files={"file": ("fox.png", large)}).status_code == 303
