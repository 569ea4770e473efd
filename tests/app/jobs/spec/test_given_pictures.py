"""What is made from a picture: what a client may say of it, and what it comes to with the picture known."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.failures import SpecError
from app.jobs.spec import (
    MASK_MODES,
    MAX_DATA_BYTES,
    Given,
    Params,
    Wish,
    cost,
    read_params,
    resolve,
    split,
    steps_in_all,
)

ENTRY = CatalogueEntry(
    name="storybook",
    revision="r1",
    tasks=["text_to_image", "image_to_image", "inpaint", "super_resolution"],
    native_width=128,
    native_height=96,
    min_side=64,
    max_side=256,
    multiple=16,
    samplers=["ddim", "ddpm"],
    defaults=ModelDefaults(steps=20, guidance_scale=5.0, sampler="ddim"),
    parameters=1,
    licence="MIT",
    scale=4,
    fingerprint="cpu-test",
)

IMAGE = Given("a" * 64, 200, 100)
MASK = Given("b" * 64, 200, 100, frozenset({"white", "black"}))
UPLOAD = "upload:" + "0" * 32

WISHES: dict[str, dict[str, Any]] = {
    "image_to_image": {"prompt": "a cat", "image": UPLOAD},
    "inpaint": {"prompt": "a cat", "image": UPLOAD, "mask": UPLOAD},
    "super_resolution": {"image": UPLOAD},
}

WISH: TypeAdapter[Any] = TypeAdapter(Annotated[Wish, Field(discriminator="task")])


def wish(task: str, **fields: Any) -> Wish:
    return WISH.validate_python({"task": task} | WISHES[task] | fields)


def resolved(
    task: str, image: Given = IMAGE, mask: Given = MASK, entry: CatalogueEntry = ENTRY, **fields: Any
) -> Params:
    return resolve(wish(task, **fields), entry, 7, {"image": image, "mask": mask})


def size(params: Params) -> tuple[int, int]:
    return params.width, params.height


@pytest.mark.parametrize("task", WISHES)
def test_every_gap_is_filled_and_the_row_reads_back(task: str) -> None:
    params = resolved(task)
    assert None not in params.model_dump().values()
    assert read_params(json.loads(params.model_dump_json())) == params
    assert params.inputs["image"] == "a" * 64
    assert "upload" not in params.model_dump_json()


def test_the_defaults_are_those_of_the_contract() -> None:
    edited, painted, enlarged = (resolved(task).model_dump() for task in WISHES)
    assert (edited["strength"], edited["fit"], edited["image"]) == (0.8, "cover", f"sha256:{'a' * 64}")
    assert (painted["strength"], painted["mask_mode"], painted["feather"]) == (1.0, "white", 0)
    assert painted["mask"] == f"sha256:{'b' * 64}"
    assert (enlarged["prompt"], enlarged["scale"], enlarged["consistent"]) == ("", 4, False)


@pytest.mark.parametrize(
    ("task", "field", "value"),
    [
        ("image_to_image", "image", None),
        ("image_to_image", "image", "upload:x"),
        ("image_to_image", "image", "upload:" + "0" * 33),
        ("image_to_image", "image", "file:///etc/passwd"),
        ("image_to_image", "image", "https://example.org/cat.png"),
        ("image_to_image", "image", "data:image/gif;base64,AAAA"),
        ("image_to_image", "image", "data:image/png,AAAA"),
        ("image_to_image", "image", "data:text/html;base64,AAAA"),
        ("image_to_image", "image", "data:image/png;base64," + "A" * (MAX_DATA_BYTES * 4 // 3 + 8)),
        ("image_to_image", "strength", 0),
        ("image_to_image", "strength", 1.01),
        ("image_to_image", "fit", "stretch"),
        ("image_to_image", "mask", UPLOAD),
        ("image_to_image", "prompt", ""),
        ("inpaint", "mask", "white"),
        ("inpaint", "mask_mode", "grey"),
        ("inpaint", "feather", -1),
        ("inpaint", "feather", 65),
        ("inpaint", "feather", 1.5),
        ("super_resolution", "scale", 1),
        ("super_resolution", "scale", 9),
        ("super_resolution", "scale", 2.0),
        ("super_resolution", "width", 128),
        ("super_resolution", "strength", 0.5),
        ("super_resolution", "consistent", 1),
    ],
)
def test_a_wrong_value_is_refused_and_its_field_named(task: str, field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        wish(task, **{field: value})
    assert {error["loc"][-1] for error in refusal.value.errors()} == {field}


@pytest.mark.parametrize("missing", ["image", "mask"])
def test_a_picture_that_is_needed_cannot_be_left_out(missing: str) -> None:
    fields = {name: value for name, value in WISHES["inpaint"].items() if name != missing}
    with pytest.raises(ValidationError, match=missing):
        WISH.validate_python({"task": "inpaint"} | fields)


def test_the_largest_data_uri_is_taken_and_shown_to_no_log() -> None:
    uri = "data:image/png;base64," + "A" * -(-MAX_DATA_BYTES // 3) * 4
    asked = wish("super_resolution", image=uri)
    assert asked.references == {"image": uri}
    assert "AAAA" not in repr(asked)


def test_references_say_what_they_are() -> None:
    assert split("upload:12") == ("upload", "12")
    assert split("image:ab") == ("image", "ab")
    assert split("data:image/webp;base64,AAA=") == ("data", "AAA=")


@pytest.mark.parametrize("format", ["webp", "jpeg"])
def test_only_png_keeps_what_is_consistent(format: str) -> None:
    with pytest.raises(ValidationError, match="must be false unless format is png"):
        wish("super_resolution", consistent=True, format=format)
    assert wish("super_resolution", consistent=False, format=format)


@pytest.mark.parametrize(
    ("fields", "image", "expected"),
    [
        ({}, (200, 100), (200, 100)),
        ({}, (33, 7), (33, 7)),
        ({}, (512, 256), (256, 128)),
        ({}, (4096, 1), (256, 1)),
        ({"width": 128, "height": 128}, (200, 100), (128, 128)),
        ({"width": 128}, (200, 100), (128, 64)),
        ({"height": 128}, (200, 100), (256, 128)),
        ({"width": 64}, (4000, 100), (64, 64)),
        ({"height": 64}, (4000, 100), (256, 64)),
        ({"width": 128, "height": 128, "fit": "contain"}, (200, 100), (128, 64)),
        ({"width": 256, "height": 64, "fit": "contain"}, (30, 30), (64, 64)),
        ({"width": 128, "height": 128, "fit": "contain"}, (4096, 3), (128, 1)),
    ],
)
def test_the_size_of_a_picture_made_from_one(
    fields: dict[str, Any], image: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert size(resolved("image_to_image", Given("a" * 64, *image), **fields)) == expected


sides = st.sampled_from([None, 64, 96, 240, 256])


@given(st.integers(1, 4096), st.integers(1, 4096), sides, sides)
def test_every_size_is_one_that_the_model_can_do(width: int, height: int, wide: int | None, high: int | None) -> None:
    params = resolved("image_to_image", Given("a" * 64, width, height), width=wide, height=high)
    assert all(1 <= side <= ENTRY.max_side for side in size(params))


@pytest.mark.parametrize("task", ["image_to_image", "inpaint"])
@pytest.mark.parametrize(("field", "side"), [("width", 100), ("height", 272), ("width", 48)])
def test_a_side_that_the_model_cannot_do_is_refused(task: str, field: str, side: int) -> None:
    with pytest.raises(SpecError, match=f"{field} must be a multiple of 16 from 64 to 256"):
        resolved(task, **{field: side})


def test_a_picture_is_painted_over_at_its_own_size_whatever_the_model_can_do() -> None:
    large = resolved("inpaint", Given("a" * 64, 1999, 1501), Given("b" * 64, 1999, 1501, frozenset({"white"})))
    assert size(large) == (1999, 1501)
    # The model sees the mask and its surroundings, at most its native size.
    assert cost(large) == 128 * 96 * 20
    assert size(resolved("inpaint", width=128, height=64)) == (128, 64)


def test_a_mask_is_as_large_as_its_image() -> None:
    with pytest.raises(SpecError, match="mask must be as large as the image, 200 x 100 pixels"):
        resolved("inpaint", mask=Given("b" * 64, 100, 200, frozenset(MASK_MODES)))


@pytest.mark.parametrize("mode", MASK_MODES)
def test_a_mask_marks_something_in_its_mode(mode: str) -> None:
    marks = frozenset({mode})
    assert resolved("inpaint", mask=Given("b" * 64, 200, 100, marks), mask_mode=mode)
    with pytest.raises(SpecError, match=f"mask must have at least one pixel that is {mode}"):
        resolved("inpaint", mask=Given("b" * 64, 200, 100, frozenset(MASK_MODES) - marks), mask_mode=mode)


@pytest.mark.parametrize(("scale", "expected"), [(None, (800, 400)), (2, (400, 200)), (4, (800, 400))])
def test_an_enlargement_is_as_many_times_as_large(scale: int | None, expected: tuple[int, int]) -> None:
    assert size(resolved("super_resolution", scale=scale)) == expected


def test_a_scale_that_the_model_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(SpecError, match="scale must be 2 or 4, got 3"):
        resolved("super_resolution", scale=3)
    twice = ENTRY.model_copy(update={"scale": 2})
    with pytest.raises(SpecError, match="scale must be 2, got 4"):
        resolved("super_resolution", scale=4, entry=twice)
    assert size(resolved("super_resolution", entry=twice)) == (400, 200)


def test_an_enlargement_has_an_end() -> None:
    assert size(resolved("super_resolution", Given("a" * 64, 1024, 1024))) == (4096, 4096)
    with pytest.raises(SpecError, match="image must have at most 1048576 pixels to be made 4 times as large"):
        resolved("super_resolution", Given("a" * 64, 1024, 1025))
    assert size(resolved("super_resolution", Given("a" * 64, 1024, 1025), scale=2)) == (2048, 2050)


@pytest.mark.parametrize(
    ("strength", "run"), [(1.0, 20), (0.8, 16), (0.55, 11), (0.51, 10), (0.05, 1), (0.01, 1)]
)
def test_as_many_steps_run_as_the_strength_leaves(strength: float, run: int) -> None:
    edited = resolved("image_to_image", strength=strength, num_images=3)
    assert edited.steps_run == run
    assert steps_in_all(edited) == 3 * run
    assert cost(edited) == 200 * 100 * 3 * run
    assert resolved("inpaint", strength=strength).steps_run == run


@pytest.mark.parametrize("task", WISHES)
def test_a_model_that_does_not_offer_the_task_is_refused(task: str) -> None:
    with pytest.raises(SpecError, match=f"model must be one that offers {task}"):
        resolved(task, entry=ENTRY.model_copy(update={"tasks": ["text_to_image"]}))
