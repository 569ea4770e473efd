"""Steps kept, decoded and verified, by a worker with the real networks; and steps on their way into files."""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pixels

from app.jobs import blobs, queue
from app.jobs.failures import ErrorCode
from app.jobs.pictures import normalise
from app.jobs.spec import DecodeParams, TextToImageParams, VerifyParams, read_params, recipe_of
from app.jobs.store import Claim, Image, Job, State
from models import SuperResolution, TextToImage, load_pipeline
from models.checkpoints.writing import save_folder
from tests.app.pictures import photo
from tests.models.conftest import small_pipeline
from tests.worker.conftest import OWNER, Running, Service
from worker.consumer import Consumer
from worker.products import difference
from worker.studio import Studio
from worker.trajectories import STEPS_A_FILE, Trajectory, estimate_in

CLAIM_ID = "a" * 32


# In the worker


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        upscaler = small_pipeline(in_channels=7, num_class_embeds=1000)
        upscaler.card = replace(upscaler.card, name="small-x4", tasks=("super_resolution",))
        save_folder(small_pipeline(), folder / "small", dtype=torch.float32)
        save_folder(upscaler, folder / "small-x4", dtype=torch.float32)
    pipelines = {name: load_pipeline(folder / name) for name in ("small", "small-x4")}
    return Studio(pipelines, torch.device("cpu"), torch.float32)


@pytest.fixture
def worker(service: Service, studio: Studio) -> Iterator[Running]:
    consumer = Consumer(service.settings, service.store, service.storage, studio)
    running = Running(consumer, studio.pipeline("small"))  # type: ignore[arg-type]
    yield running
    running.stop()


@pytest.fixture
def make(service: Service, worker: Running, make_params: Callable[..., TextToImageParams]) -> Callable[..., Job]:
    """Makes pictures of three steps, larger by two more, all of them kept."""

    def develop(upscale: int, **fields: object) -> Job:
        upscaler = {"model": "small-x4", "steps": 2, "guidance_scale": 1.0, "sampler": "ddim"}
        common = make_params(steps=3, reproducible=True, save_trajectory=True, **fields)
        second = {"upscale": upscale, "upscaler": None if upscale == 1 else upscaler}
        params = read_params(common.model_dump() | {"model": "small", "width": 32, "height": 32} | second)
        return settle(service, service.store.submit(params, OWNER))

    return develop


def settle(service: Service, job: Job) -> Job:
    queue.ring(service.redis)
    return service.wait_for(job.id)


def decode(service: Service, image: Image, step: int) -> Job:
    part = next(part for part in image.trajectory if part.holds(step))
    recipe = recipe_of(image.params, image.seed)
    params = DecodeParams(
        task="decode", image=image.id, recipe=recipe, step=step, sha256=part.sha256, place=step - part.first
    )
    return settle(service, service.store.inquiries.ask(params, OWNER))


def verify(service: Service, image: Image, sha256: str | None = None) -> Job:
    recipe, file = recipe_of(image.params, image.seed), sha256 or image.sha256
    params = VerifyParams(task="verify", image=image.id, recipe=recipe, sha256=file, made_on=image.fingerprint)
    return settle(service, service.store.inquiries.ask(params, OWNER))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = float(((one.astype(float) - other) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def picture(service: Service, key: str) -> np.ndarray:
    return np.asarray(Pixels.open(io.BytesIO(service.storage.get(key))).convert("RGB")).astype(int)


def test_every_step_is_kept_in_float16_and_can_be_decoded(
    service: Service, make: Callable[..., Job], studio: Studio
) -> None:
    image = make(1, num_images=2).images[1]
    (part,) = image.trajectory
    assert (part.first, part.steps) == (1, 3)
    kept = np.load(io.BytesIO(service.storage.get(part.key)))
    assert (kept.dtype, kept.shape) == (np.float16, (3, 4, 8, 8))
    expected: list[np.ndarray] = []
    studio.pipeline("small").generate(
        TextToImage(prompt="a red cat", seed=8, num_steps=3, guidance_scale=5.0, reproducible=True),
        on_step=lambda step, rows: expected.append(rows[0].x0.half().numpy()),
    )
    assert np.array_equal(kept, expected)
    first, last = decode(service, image, 1), decode(service, image, 3)
    assert first.state is last.state is State.SUCCEEDED, (first.error, last.error)
    assert last.result is not None
    assert (last.result["width"], last.result["height"], last.result["step"]) == (32, 32, 3)
    # In half precision the last estimate is the picture but for rounding.
    apart = np.abs(picture(service, last.result["key"]) - picture(service, image.key))
    assert apart.max() <= 2
    assert first.result is not None
    assert not np.array_equal(picture(service, first.result["key"]), picture(service, last.result["key"]))


def test_the_steps_of_both_stages_are_kept_and_decoded_each_by_its_model(
    service: Service, make: Callable[..., Job], studio: Studio
) -> None:
    image = make(2).images[0]
    assert [(part.first, part.steps) for part in image.trajectory] == [(1, 3), (4, 2)]
    small, large = decode(service, image, 3), decode(service, image, 5)
    assert small.result is not None
    assert large.result is not None
    assert (small.model, small.result["width"], large.model, large.result["width"]) == ("small", 32, "small-x4", 64)
    # As the network left it: its colours are not drawn back to those of what was made larger.
    expected = studio.pipeline("small-x4").generate(
        SuperResolution(
            image=picture(service, small.result["key"]).astype(np.uint8), prompt="a red cat", scale=2, seed=7,
            num_steps=2, guidance_scale=1.0, reproducible=True, keep_colours=False,
        )
    )  # fmt: skip
    assert psnr(picture(service, large.result["key"]), expected[0]) > 30


@pytest.mark.parametrize("format", ["png", "webp"])
def test_a_picture_that_is_developed_again_is_the_same_file(
    service: Service, make: Callable[..., Job], format: str
) -> None:
    image = make(2, num_images=2, format=format).images[1]
    job = verify(service, image)
    assert job.state is State.SUCCEEDED, job.error
    assert job.result == {
        "equal": True, "same_file": True, "differing_pixels": 0, "largest_difference": 0, "sha256": image.sha256,
        "model_revision": image.model_revision, "fingerprint": image.fingerprint,
    }  # fmt: skip
    assert job.images == ()
    assert service.files_of(job.id) == []


def test_a_picture_that_was_made_from_another_is_verified_and_decoded_from_it(
    service: Service, worker: Running, make_params: Callable[..., TextToImageParams]
) -> None:
    kept = blobs.keep(service.store, service.storage, normalise(photo(32, 32)))
    common = make_params(steps=4, reproducible=True, save_trajectory=True).model_dump(exclude={"upscale", "upscaler"})
    given = {"task": "image_to_image", "image": f"sha256:{kept.sha256}", "strength": 0.5, "fit": "cover"}
    params = read_params(common | given | {"model": "small", "width": 32, "height": 32})
    image = settle(service, service.store.submit(params, OWNER)).images[0]
    # As many steps as its strength leaves.
    assert [(part.first, part.steps) for part in image.trajectory] == [(1, 2)]
    verdict, last = verify(service, image), decode(service, image, 2)
    assert verdict.result is not None
    assert verdict.result["same_file"]
    assert last.result is not None
    assert np.abs(picture(service, last.result["key"]) - picture(service, image.key)).max() <= 2


def test_a_picture_that_is_not_the_same_is_told_from_the_one_there_was(
    service: Service, make: Callable[..., Job]
) -> None:
    image = make(1).images[0]
    other = replace(image, params=image.params.model_copy(update={"prompt": "another"}))
    job = verify(service, other)
    assert job.result is not None
    assert not job.result["equal"]
    assert not job.result["same_file"]
    assert job.result["differing_pixels"] > 0
    assert job.result["largest_difference"] > 0


def test_without_its_files_nothing_is_found_out(service: Service, make: Callable[..., Job]) -> None:
    image = make(1).images[0]
    wrong = verify(service, image, sha256="0" * 64)
    service.storage.delete(image.key)
    service.storage.delete(image.trajectory[0].key)
    gone, undecoded = verify(service, image), decode(service, image, 1)
    for job in (wrong, gone, undecoded):
        assert job.state is State.FAILED
        assert job.error is not None
        assert job.error.code == ErrorCode.INPUT_LOST


# Into files


class Files(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


@pytest.fixture
def claim(make_params: Callable[..., TextToImageParams]) -> Claim:
    return Claim(CLAIM_ID, 2, OWNER, make_params())


def test_a_file_holds_some_steps_so_that_few_wait_in_memory(claim: Claim) -> None:
    files = Files()
    trajectory = Trajectory(claim, 3, files.put)
    for step in range(1, STEPS_A_FILE + 3):
        trajectory.add(step, torch.full((4, 2, 2), float(step)))
        assert len(files) == (step > STEPS_A_FILE)
    parts = trajectory.close()
    assert [(part.first, part.steps) for part in parts] == [(1, STEPS_A_FILE), (STEPS_A_FILE + 1, 2)]
    assert [part.key for part in parts] == [f"{CLAIM_ID}/2-3.x0-1.npy", f"{CLAIM_ID}/2-3.x0-{STEPS_A_FILE + 1}.npy"]
    assert estimate_in(files[parts[1].key], 1).tolist() == np.full((4, 2, 2), STEPS_A_FILE + 2.0).tolist()


def test_latents_of_another_shape_begin_another_file(claim: Claim) -> None:
    files = Files()
    trajectory = Trajectory(claim, 0, files.put)
    trajectory.add(1, torch.zeros(4, 2, 2))
    trajectory.add(2, torch.zeros(4, 8, 8))
    assert [(part.first, part.steps) for part in trajectory.close()] == [(1, 1), (2, 1)]


def test_what_half_precision_cannot_say_is_the_largest_that_it_can(claim: Claim) -> None:
    files = Files()
    trajectory = Trajectory(claim, 0, files.put)
    trajectory.add(1, torch.tensor([1e9, -1e9, 1.0]).view(3, 1, 1))
    (part,) = trajectory.close()
    assert estimate_in(files[part.key], 0).flatten().tolist() == [65504, -65504, 1]


@pytest.mark.parametrize("place", [-1, 1])
def test_a_step_that_is_not_in_the_file_is_refused(claim: Claim, place: int) -> None:
    files = Files()
    trajectory = Trajectory(claim, 0, files.put)
    trajectory.add(1, torch.zeros(4, 2, 2))
    (part,) = trajectory.close()
    with pytest.raises(ValueError, match="must hold estimate"):
        estimate_in(files[part.key], place)


def test_pictures_of_another_size_are_not_equal() -> None:
    grey = np.full((2, 3, 3), 7, np.uint8)
    assert difference(grey, grey) == {"equal": True, "differing_pixels": 0, "largest_difference": 0}
    assert not difference(grey, grey[:1])["equal"]
    other = grey.copy()
    other[0, 0, 1] = 9
    assert difference(grey, other) == {"equal": False, "differing_pixels": 1, "largest_difference": 2}
