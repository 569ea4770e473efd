"""What a picture says it was made from is told, and nothing of it is kept."""

import io
import struct
import zlib
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.jobs.recipe import Recipe, embedding, infotext
from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.schemas import RecipeOut
from tests.app.pictures import photo

RECIPES = "/api/v1/recipes"
OURS = Recipe(
    prompt='a "red" cat,\nNegative prompt: not yet', negative_prompt="dog", model="storybook", revision="r1", width=64,
    height=64, steps=25, guidance_scale=5.0, guidance_interval=(0.1, 0.9), sampler="ddim", eta=0.0, seed=4294967295,
)  # fmt: skip
THEIRS = (
    "masterpiece, a cat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768"
)


def written(format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, format.upper(), **options)
    return buffer.getvalue()


def by_a1111(text: str) -> bytes:
    info = PngInfo()
    info.add_text("parameters", text)
    return written("png", pnginfo=info)


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_a_recipe_of_ours_is_read_exactly(client: TestClient, format: Any) -> None:
    data = written(format, **embedding(OURS, format))
    said = client.post(RECIPES, content=data, headers={"content-type": f"image/{format}"})
    assert said.status_code == 200
    body = said.json()
    assert body.pop("infotext") == infotext(OURS)
    assert Recipe.model_validate(body) == OURS
    assert client.post(RECIPES, files={"any": data}).json() == said.json()


def test_a_recipe_of_a1111_is_read_as_far_as_it_goes(client: TestClient) -> None:
    body = client.post(RECIPES, files={"file": by_a1111(THEIRS)}).json()
    assert (body["prompt"], body["negative_prompt"]) == ("masterpiece, a cat", "blurry")
    said = {name: body[name] for name in ("steps", "sampler", "guidance_scale", "seed", "width", "height", "model")}
    assert said == {
        "steps": 20,
        "sampler": "euler_ancestral",
        "guidance_scale": 7.0,
        "seed": 5,
        "width": 512,
        "height": 768,
        "model": None,
    }


def test_nothing_is_kept(client: TestClient, settings: Settings) -> None:
    client.post(RECIPES, files={"file": by_a1111(THEIRS)})
    assert list(open_storage(settings.resolved_storage_url).list()) == []
    assert client.get("/api/v1/images").json()["items"] == []


def test_a_picture_without_a_recipe_says_where_one_would_be(client: TestClient) -> None:
    response = client.post(RECIPES, files={"file": photo()})
    assert response.status_code == 422
    (fault,) = response.json()["errors"]
    assert fault["pointer"] == "#"
    assert "must hold a recipe: `parameters` of a PNG" in fault["detail"]


def _bomb() -> bytes:
    """A PNG whose recipe would fill the memory."""
    text = b"parameters\0\1\0\0\0" + zlib.compress(bytes(64 << 20), 9)
    chunk = struct.pack(">L", len(text)) + b"iTXt" + text + struct.pack(">L", zlib.crc32(b"iTXt" + text))
    whole = photo()
    return whole[:33] + chunk + whole[33:]


HOSTILE = {
    "empty": b"",
    "text": b"a cat",
    "cut off": photo()[:40],
    "gif": written("gif"),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "bomb": _bomb(),
    "broken exif": written("jpeg", exif=b"Exif\0\0MM\0*" + b"\xff" * 64),
    "doctype": written("png", pnginfo=None) + b"<!DOCTYPE x [<!ENTITY a 'a'>]>",
    "long": by_a1111("a" * 100_000),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_that_holds_none_is_refused_in_few_words(client: TestClient, data: bytes) -> None:
    response = client.post(RECIPES, content=data, headers={"content-type": "application/octet-stream"})
    assert response.status_code == 422
    assert len(response.content) < 1000


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_a_body_of_another_kind_is_refused(client: TestClient, kind: str) -> None:
    assert client.post(RECIPES, content=b"x", headers={"content-type": kind}).status_code == 415


def test_every_field_of_a_recipe_is_told() -> None:
    assert set(RecipeOut.model_fields) == {*Recipe.model_fields, "infotext"}
