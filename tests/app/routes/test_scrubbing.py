"""Sliding through the steps of a print, without JavaScript too; and having them kept where they were not."""

import re

from fastapi.testclient import TestClient

from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.store import Image, Store
from tests.app.routes.test_trajectories import Publish, decode, image, publish

__all__ = ["image", "publish"]


def test_a_step_is_developed_on_request_and_shown_from_then_on(
    client: TestClient, image: Image, store: Store, settings: Settings
) -> None:
    here = f"/images/{image.id}/trajectory"
    before = client.get(f"{here}?step=2").text
    assert "Step 2 of 4, not developed yet" in before
    assert '<meta http-equiv="refresh"' not in before, "nothing comes before it is asked for"
    assert f'action="{here}/2"' in before
    asked = client.post(f"{here}/2")
    assert (asked.status_code, asked.headers["location"]) == (303, f"{here}?step=2&wait=true")
    assert '<meta http-equiv="refresh"' in client.get(asked.headers["location"]).text
    decode(store, settings)
    after = client.get(asked.headers["location"]).text
    assert 'data-decoded="2"' in after
    assert f'src="/api/v1{here}/2"' in after
    assert "not developed yet" not in after
    assert '<meta http-equiv="refresh"' not in after
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", after)


def test_a_step_beyond_the_last_is_the_last(client: TestClient, image: Image) -> None:
    assert "Step 4 of 4" in client.get(f"/images/{image.id}/trajectory?step=99").text
    assert client.post(f"/images/{image.id}/trajectory/99").status_code == 404


def test_a_print_without_steps_can_be_developed_again_with_them(
    client: TestClient, publish: Publish, store: Store
) -> None:
    print_ = publish()
    page = client.get(f"/images/{print_.id}/trajectory")
    assert page.status_code == 200
    assert "The steps of this print were not kept" in page.text
    asked = client.post(f"/images/{print_.id}/trajectory")
    job = store.get(asked.headers["location"].removeprefix("/jobs/"), "local")
    assert isinstance(job.params, TextToImageParams)
    assert (job.params.save_trajectory, job.params.seed, job.params.num_images) == (True, print_.seed, 1)
    assert job.params.model_copy(update={"save_trajectory": False}) == print_.params.model_copy(
        update={"seed": print_.seed}
    )


def test_nobody_slides_through_the_prints_of_others(client: TestClient, image: Image, store: Store) -> None:
    others = {"authorization": f"Bearer {store.keys.create('somebody').token}"}
    here = f"/images/{image.id}/trajectory"
    assert client.get(here, headers=others).status_code == 404
    assert client.post(here, headers=others).status_code == 404
    assert client.post(f"{here}/2", headers=others).status_code == 404
