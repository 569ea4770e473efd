"""Many pictures in one file: each as it was developed, and none of them whole in memory."""

import hashlib
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, cast

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app import parcels
from app.jobs.recipe import Recipe, embedding, read
from app.jobs.settings import Settings
from app.jobs.storage import Storage, open_storage
from app.jobs.store import Image, Job, Store

ZIP = "/api/v1/images/zip"
LARGE_BYTES = 8 << 20


@pytest.fixture
def made(client: TestClient, submit: Callable[..., object], develop: Callable[[], Job]) -> list[Image]:
    """Three published pictures of one seed, in two formats."""
    submit(seed=7)
    submit(seed=7)
    submit(seed=7, format="jpeg")
    return [image for _ in range(3) for image in develop().images]


def test_each_picture_is_in_it_as_it_was_developed_under_a_name_of_its_own(
    client: TestClient, made: list[Image]
) -> None:
    response = client.post(ZIP, json={"ids": [image.id for image in (*made, made[0])]})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == 'attachment; filename="darkroom.zip"'
    with zipfile.ZipFile(io.BytesIO(response.content)) as parcel:
        assert parcel.testzip() is None
        assert parcel.namelist() == ["darkroom-1-7.png", "darkroom-2-7.png", "darkroom-3-7.jpg"]
        for name, image in zip(parcel.namelist(), made, strict=True):
            assert hashlib.sha256(parcel.read(name)).hexdigest() == image.sha256
            assert parcel.getinfo(name).date_time[:3] == image.created_at.timetuple()[:3]


def test_recipes_stay_in_their_files(client: TestClient, settings: Settings, made: list[Image]) -> None:
    storage, (first, *_) = open_storage(settings.resolved_storage_url), made
    picture = io.BytesIO()
    from PIL import Image as Pixels

    Pixels.new("RGB", (8, 8)).save(picture, "PNG", **embedding(Recipe(prompt="a cat", seed=7), "png"))
    storage.delete(first.key)
    storage.put(first.key, picture.getvalue())
    response = client.post(ZIP, json={"ids": [first.id]})
    with zipfile.ZipFile(io.BytesIO(response.content)) as parcel:
        assert read(parcel.read("darkroom-1-7.png")) == Recipe(prompt="a cat", seed=7)


def test_pictures_that_are_not_yours_or_deleted_are_pointed_at(
    client: TestClient,
    store: Store,
    make_params: Callable[..., Any],
    develop: Callable[[], Job],
    made: list[Image],
) -> None:
    store.submit(make_params(), "somebody-else")
    theirs = develop().images[0]
    store.gallery.delete([made[1].id], "local")
    response = client.post(ZIP, json={"ids": [made[0].id, made[1].id, theirs.id, "0" * 32]})
    assert response.status_code == 422
    faults = response.json()["errors"]
    assert [fault["pointer"] for fault in faults] == ["#/ids/1", "#/ids/2", "#/ids/3"]
    assert {fault["detail"] for fault in faults} == {"must name a picture of yours"}


@pytest.mark.parametrize("ids", [[], ["x"], ["0" * 32] * 501, "0" * 32, None])
def test_a_list_that_is_none_is_refused(client: TestClient, ids: object) -> None:
    assert client.post(ZIP, json={"ids": ids}).status_code == 422


class Endless:
    """A storage whose every file is large, and read piece by piece."""

    def open(self, key: str) -> io.BufferedIOBase:
        return cast(io.BufferedIOBase, _Zeros(LARGE_BYTES))


class _Zeros(io.RawIOBase):
    def __init__(self, left: int) -> None:
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._left)
        buffer[:size] = bytes(size)
        self._left -= size
        return size


def test_large_files_take_no_memory(made: list[Image]) -> None:
    many = [replace(made[0], size_bytes=LARGE_BYTES)] * 6
    size = largest = 0
    tracemalloc.start()
    for piece in parcels.zipped(cast(Storage, Endless()), many):
        size, largest = size + len(piece), max(largest, len(piece))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 6 * LARGE_BYTES
    assert largest < 2 * parcels.PIECE_BYTES
    assert peak < 1 << 20


def test_a_picture_that_was_lost_breaks_the_file_off_so_that_nobody_takes_it_for_whole(
    app: FastAPI,
    serve: Callable[[FastAPI], AbstractContextManager[str]],
    settings: Settings,
    made: list[Image],
) -> None:
    open_storage(settings.resolved_storage_url).delete(made[1].key)
    with serve(app) as url, pytest.raises(httpx2.RemoteProtocolError):
        httpx2.post(f"{url}{ZIP}", json={"ids": [image.id for image in made]}).read()
