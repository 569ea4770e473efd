"""Jobs about images: asked once, taken by whom they fit, answered in their row, and in nobody's way."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import NotFound
from app.jobs.spec import DecodeParams, VerifyParams, read_params, recipe_of
from app.jobs.store import Answered, Cancelled, Image, State, TrajectoryPart
from app.jobs.tables import images

OWNER = "local"
HERE = "cpu-test"
TIMINGS = {"text_s": 0.1, "denoise_s": 0.0, "decode_s": 0.3, "encode_s": 0.05}
SHA256 = "a" * 64


def part(job_id: str, first: int, steps: int) -> TrajectoryPart:
    return TrajectoryPart(first, steps, f"{job_id}/1-0.x0-{first}.npy", SHA256)


@pytest.fixture
def image(bench: Any) -> Image:
    """A reproducible picture whose four steps are kept in two files."""
    claim = bench.submit_and_claim(reproducible=True, save_trajectory=True)
    outcome = bench.success(claim)
    kept = (part(claim.job_id, 1, 3), part(claim.job_id, 4, 1))
    images = tuple(replace(image, trajectory=kept) for image in outcome.images)
    assert bench.store.finish(claim, replace(outcome, images=images))
    found = bench.job(claim).images[0]
    assert isinstance(found, Image)
    return found


def verify(image: Image) -> VerifyParams:
    recipe = recipe_of(image.params, image.seed)
    return VerifyParams(task="verify", image=image.id, recipe=recipe, sha256=image.sha256, made_on=image.fingerprint)


def decode(image: Image, step: int) -> DecodeParams:
    recipe = recipe_of(image.params, image.seed)
    return DecodeParams(task="decode", image=image.id, recipe=recipe, step=step, sha256=SHA256, place=0)


def claim(bench: Any, fingerprint: str | None = HERE) -> Any:
    return bench.store.claim_next("worker-1", ["storybook"], fingerprint=fingerprint)


def answer(bench: Any, claim: Any, step: int = 1) -> Answered:
    key = f"{claim.job_id}/{claim.attempt}-0.png"
    return Answered({"step": step, "key": key}, TIMINGS, "r1", decoded_key=key)


def test_the_files_of_the_steps_are_published_with_the_image_and_are_no_orphans(bench: Any, image: Image) -> None:
    keys = [kept.key for kept in image.trajectory]
    assert len(keys) == 2
    stranger = f"{image.job_id}/1-0.x0-9.npy"
    assert bench.store.orphans([*keys, stranger]) == {stranger}


def test_the_steps_of_an_attempt_that_published_nothing_are_orphans(bench: Any) -> None:
    claim = bench.submit_and_claim(save_trajectory=True)
    key = part(claim.job_id, 1, 3).key
    assert not bench.store.is_orphan(key)
    bench.store.finish(claim, Cancelled())
    assert bench.store.is_orphan(key)


def test_the_same_question_is_asked_once_while_it_is_under_way(bench: Any, image: Image) -> None:
    asked = [bench.store.inquiries.ask(params, OWNER) for params in (decode(image, 1), decode(image, 2), verify(image))]
    again = [bench.store.inquiries.ask(params, OWNER) for params in (decode(image, 1), decode(image, 2), verify(image))]
    assert [job.id for job in again] == [job.id for job in asked]
    assert len({job.id for job in asked}) == 3
    assert bench.store.inquiries.ask(verify(image), "an-admin").id != asked[2].id
    bench.store.cancel(asked[0].id, OWNER)
    assert bench.store.inquiries.ask(decode(image, 1), OWNER).id != asked[0].id


def test_it_reads_back_and_is_listed_only_by_its_task(bench: Any, image: Image) -> None:
    asked = {"verify": bench.store.inquiries.ask(verify(image), OWNER)}
    asked["decode"] = bench.store.inquiries.ask(decode(image, 1), OWNER)
    assert asked["verify"].params == verify(image)
    assert read_params(asked["decode"].params.model_dump(mode="json")) == decode(image, 1)
    assert [job.id for job in bench.store.jobs(OWNER).items] == [image.job_id]
    for task, job in asked.items():
        assert bench.store.jobs(OWNER, task=task).items == (job,)


def test_a_claim_has_the_files_of_its_image(bench: Any, image: Image) -> None:
    for step, key in ((3, image.trajectory[0].key), (4, image.trajectory[1].key)):
        bench.store.inquiries.ask(decode(image, step), OWNER)
        assert claim(bench).inputs == {"estimates": key}
    bench.store.inquiries.ask(decode(image, 5), OWNER)
    assert claim(bench).inputs == {}
    bench.store.inquiries.ask(verify(image), OWNER)
    assert claim(bench).inputs == {"picture": image.key}


def test_a_verification_goes_to_a_worker_of_the_images_fingerprint_and_to_no_other(bench: Any, image: Image) -> None:
    job = bench.store.inquiries.ask(verify(image), OWNER)
    assert claim(bench, "another") is None
    assert claim(bench, None) is None
    assert claim(bench).job_id == job.id


def test_a_verification_that_nobody_can_do_any_more_fails(bench: Any, image: Image, entry: CatalogueEntry) -> None:
    job = bench.store.inquiries.ask(verify(image), OWNER)
    bench.write(job, queued_at=0.0)
    bench.store.register_model("worker-1", entry)
    bench.store.worker_beat("worker-1", {"fingerprint": HERE})
    assert bench.store.sweep().failed == ()
    bench.store.worker_beat("worker-1", {"fingerprint": "another"})
    assert bench.store.sweep().failed == (job.id,)


def test_the_answer_is_in_the_row_and_its_picture_is_no_orphan(bench: Any, image: Image) -> None:
    job = bench.store.inquiries.ask(decode(image, 2), OWNER)
    assert bench.store.inquiries.decoded(image, range(1, 5)) == {}
    held = claim(bench)
    assert bench.store.finish(held, answer(bench, held, 2))
    done = bench.job(job)
    assert (done.state, done.result["step"], done.images) == (State.SUCCEEDED, 2, ())
    assert done.progress.step == done.progress.steps == 1
    key = done.result["key"]
    assert bench.store.inquiries.decoded(image, range(1, 5)) == {2: done.result}
    assert not bench.store.is_orphan(key)
    # Only once: the next question finds the answer, or is a job of its own.
    assert bench.store.inquiries.ask(decode(image, 2), OWNER).id != job.id


def test_a_cancel_or_a_lost_lease_takes_the_answer_back(bench: Any, image: Image) -> None:
    bench.store.inquiries.ask(decode(image, 1), OWNER)
    held = claim(bench)
    bench.store.cancel(held.job_id, OWNER)
    assert not bench.store.finish(held, answer(bench, held))
    assert (bench.job(held).state, bench.job(held).result) == (State.CANCELLED, None)
    assert bench.store.is_orphan(f"{held.job_id}/1-0.png")


def test_what_is_decoded_goes_with_its_job(bench: Any, image: Image) -> None:
    bench.store.inquiries.ask(decode(image, 1), OWNER)
    held = claim(bench)
    bench.store.finish(held, answer(bench, held))
    bench.write(held, finished_at=0.0)
    bench.store.ledger.tally()
    assert bench.store.ledger.prune(3600.0).keys == (f"{held.job_id}/1-0.png",)
    assert bench.store.inquiries.decoded(image, range(1, 5)) == {}


def test_with_a_deleted_image_goes_all_that_was_found_out_about_it(bench: Any, image: Image) -> None:
    bench.store.inquiries.ask(decode(image, 1), OWNER)
    held = claim(bench)
    bench.store.finish(held, answer(bench, held))
    waiting = bench.store.inquiries.ask(decode(image, 2), OWNER)
    bench.store.ledger.tally()
    bench.store.gallery.delete([image.id], OWNER)
    with bench.engine.begin() as connection:
        connection.execute(update(images).values(deleted_at=0.0))
    steps = [part.key for part in image.trajectory]
    assert set(bench.store.gallery.forget()) == {image.key, image.thumbnail_key, *steps, f"{held.job_id}/1-0.png"}
    with pytest.raises(NotFound):
        bench.job(held)
    assert claim(bench).job_id == waiting.id


def test_it_says_nothing_of_how_fast_pictures_are_made(bench: Any, image: Image) -> None:
    before = bench.store.ledger.measure().paces
    bench.store.inquiries.ask(decode(image, 1), OWNER)
    held = claim(bench)
    bench.store.finish(held, answer(bench, held))
    assert bench.store.ledger.measure().paces == before
