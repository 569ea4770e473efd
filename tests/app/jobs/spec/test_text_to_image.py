"""What a client may say of a picture from words, and what it means; most of it holds for every task."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.failures import SpecError
from app.jobs.spec import (
    PARAMS_VERSION,
    SEEDS,
    TASKS,
    TextToImage,
    TextToImageParams,
    cost,
    draw_seed,
    image_seed,
    read_params,
    resolve,
)

WISH = {"task": "text_to_image", "prompt": "a red cat"}

ENTRY = CatalogueEntry(
    name="storybook",
    revision="r1",
    tasks=["text_to_image"],
    native_width=128,
    native_height=96,
    min_side=64,
    max_side=256,
    multiple=8,
    samplers=["ddpm", "ddim"],
    defaults=ModelDefaults(steps=25, guidance_scale=5.0, sampler="ddim"),
    parameters=1,
    licence="MIT",
    fingerprint="cpu-test",
)

wishes = st.fixed_dictionaries(
    {
        "task": st.just("text_to_image"),
        "prompt": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=2000),
    },
    optional={
        "negative_prompt": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=2000),
        "width": st.integers(8, 32).map(lambda cells: cells * 8),
        "height": st.integers(8, 32).map(lambda cells: cells * 8),
        "steps": st.integers(1, 1000),
        "guidance_scale": st.integers(0, 50) | st.floats(0, 50),
        "guidance_interval": st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
        "prompt_syntax": st.sampled_from(["plain", "weighted"]),
        "priority": st.sampled_from(["normal", "low"]),
        "sampler": st.sampled_from(["ddim", "ddpm"]),
        "seed": st.integers(0, SEEDS - 1),
        "num_images": st.integers(1, 16),
        "format": st.sampled_from(["png", "webp", "jpeg"]),
        "quality": st.integers(1, 100),
        "metadata": st.booleans(),
        "reproducible": st.booleans(),
        "save_trajectory": st.booleans(),
    },
)


@given(wishes, st.integers(0, SEEDS - 1))
def test_every_allowed_wish_resolves_to_what_was_said_and_nothing_is_left_open(wish: Any, drawn: int) -> None:
    spec = TextToImage.model_validate_json(json.dumps(wish))

    params = resolve(spec, ENTRY, drawn)

    values = params.model_dump(mode="json")
    # Nobody makes it larger.
    assert [name for name, value in values.items() if value is None] == ["upscaler"]
    assert {name: values[name] for name in wish} == wish
    assert values["seed"] == wish.get("seed", drawn)
    assert read_params(json.loads(json.dumps(values))) == params


def test_a_wish_of_two_words_gets_the_models_defaults() -> None:
    params = resolve(TextToImage.model_validate(WISH), ENTRY, seed=11)

    assert params == TextToImageParams(
        task="text_to_image",
        prompt="a red cat",
        negative_prompt="",
        model="storybook",
        width=128,
        height=96,
        steps=25,
        guidance_scale=5.0,
        sampler="ddim",
        eta=0.0,
        seed=11,
        num_images=1,
        format="png",
        quality=90,
        metadata=True,
        prompt_syntax="plain",
        guidance_interval=(0.0, 1.0),
        priority="normal",
        reproducible=False,
        save_trajectory=False,
        upscale=1,
        upscaler=None,
    )
    assert params.version == PARAMS_VERSION


VERSION_1 = {
    "version": 1, "task": "text_to_image", "prompt": "a red cat", "negative_prompt": "", "model": "storybook",
    "width": 128, "height": 96, "steps": 25, "guidance_scale": 5.0, "sampler": "ddim", "eta": 0.0, "seed": 11,
    "num_images": 1, "format": "png", "quality": 90, "metadata": True,
}  # fmt: skip


VERSION_2 = VERSION_1 | {
    "version": 2, "prompt_syntax": "plain", "guidance_interval": [0.0, 1.0], "priority": "normal",
}  # fmt: skip


@pytest.mark.parametrize("row", [VERSION_1, VERSION_2])
def test_a_row_of_an_earlier_version_is_the_recipe_that_it_was(row: dict[str, Any]) -> None:
    assert read_params(row) == resolve(TextToImage.model_validate(WISH), ENTRY, seed=11)


@pytest.mark.parametrize(
    "row",
    [
        VERSION_1 | {"version": 4},
        VERSION_1 | {"upscale": 2},
        VERSION_1 | {"task": "dream"},
        VERSION_1 | {"steps": None},
        VERSION_1 | {"surprise": 1},
        {name: value for name, value in VERSION_1.items() if name != "task"},
        [],
        None,
    ],
)
def test_a_row_that_no_version_wrote_is_refused(row: Any) -> None:
    with pytest.raises(ValidationError):
        read_params(row)


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 0, "guidance_scale": 0},
        {"guidance_scale": 0.0, "eta": 0},
    ],
)
def test_zero_is_a_value_and_not_an_absence(fields: dict[str, Any]) -> None:
    params = resolve(TextToImage.model_validate(WISH | fields), ENTRY, seed=11)

    assert params.guidance_scale == 0
    assert params.seed == fields.get("seed", 11)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "inpaint"),
        ("task", None),
        ("prompt", ""),
        ("prompt", "x" * 2001),
        ("prompt", "a\0b"),
        ("prompt", "\ud800"),
        ("prompt", 5),
        ("prompt", None),
        ("negative_prompt", "a\0b"),
        ("negative_prompt", "x" * 2001),
        ("negative_prompt", None),
        ("model", ""),
        ("width", "128"),
        ("width", 128.0),
        ("width", True),
        ("width", 0),
        ("height", -8),
        ("height", 10**30),
        ("steps", 0),
        ("steps", 1001),
        ("steps", 2.5),
        ("guidance_scale", -0.1),
        ("guidance_scale", 50.1),
        ("guidance_scale", float("nan")),
        ("guidance_scale", float("inf")),
        ("guidance_scale", "7"),
        ("guidance_scale", True),
        ("sampler", 1),
        ("eta", -0.1),
        ("eta", 1.1),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", "1"),
        ("seed", 1.0),
        ("num_images", 0),
        ("num_images", 17),
        ("format", "gif"),
        ("format", "PNG"),
        ("quality", 0),
        ("quality", 101),
        ("metadata", "yes"),
        ("metadata", 1),
        ("guidance_interval", [0.5, 0.2]),
        ("guidance_interval", [0, 1.5]),
        ("guidance_interval", [0.5]),
        ("guidance_interval", [0, 0.5, 1]),
        ("guidance_interval", 0.5),
        ("prompt_syntax", "poetic"),
        ("priority", "high"),
        ("priority", 1),
        ("cfg_scale", 7),
        ("version", 1),
    ],
)
def test_a_wrong_value_is_refused_and_its_field_named(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        TextToImage.model_validate(WISH | {field: value})

    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


def test_a_lone_surrogate_is_refused_in_json_too() -> None:
    with pytest.raises(ValidationError):
        TextToImage.model_validate_json(r'{"task": "text_to_image", "prompt": "\ud800"}')


@given(st.text(min_size=1, max_size=50))
def test_every_prompt_that_is_accepted_can_be_stored(prompt: str) -> None:
    try:
        spec = TextToImage.model_validate(WISH | {"prompt": prompt})
    except ValidationError:
        assert "\0" in prompt or any("\ud800" <= character <= "\udfff" for character in prompt)
    else:
        assert "\0" not in spec.prompt
        assert spec.prompt.encode().decode() == prompt


def test_eta_belongs_to_ddim() -> None:
    with pytest.raises(ValidationError) as refusal:
        TextToImage.model_validate(WISH | {"sampler": "ddpm", "eta": 0.5})
    assert [error["loc"] for error in refusal.value.errors()] == [("eta",)]

    for fields in ({"eta": 0.5}, {"eta": 0.5, "sampler": "ddim"}, {"eta": 1, "sampler": None}):
        assert resolve(TextToImage.model_validate(WISH | fields), ENTRY, 1).eta == fields["eta"]


def test_eta_is_refused_when_the_models_own_sampler_is_not_ddim() -> None:
    defaults = ENTRY.defaults.model_copy(update={"sampler": "ddpm"})
    entry = ENTRY.model_copy(update={"defaults": defaults})

    with pytest.raises(SpecError, match=r"eta must be 0 unless sampler is ddim, got 0\.5"):
        resolve(TextToImage.model_validate(WISH | {"eta": 0.5}), entry, 1)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("width", 100, "must be a multiple of 8 from 64 to 256"),
        ("width", 56, "must be a multiple of 8 from 64 to 256"),
        ("height", 264, "must be a multiple of 8 from 64 to 256"),
        ("sampler", "euler", "must be one of ddpm, ddim"),
    ],
)
def test_what_only_the_catalogue_knows_is_refused_with_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(SpecError) as refusal:
        resolve(TextToImage.model_validate(WISH | {field: value}), ENTRY, 1)

    assert (refusal.value.field, refusal.value.value, refusal.value.message) == (field, value, allowed)
    assert str(refusal.value) == f"{field} {allowed}, got {value!r}"


@pytest.mark.parametrize("side", [64, 256])
def test_the_limits_themselves_are_allowed(side: int) -> None:
    params = resolve(TextToImage.model_validate(WISH | {"width": side, "height": side}), ENTRY, 1)

    assert (params.width, params.height) == (side, side)


def test_a_model_that_does_not_offer_the_task_is_refused() -> None:
    entry = ENTRY.model_copy(update={"tasks": ["inpaint"]})

    with pytest.raises(SpecError, match="model must be one that offers text_to_image, got 'storybook'"):
        resolve(TextToImage.model_validate(WISH), entry, 1)


def test_specs_and_params_are_frozen(make_params: Callable[..., TextToImageParams]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_params().seed = 1  # type: ignore[misc]


def test_the_cost_is_pixels_times_steps_times_images(make_params: Callable[..., TextToImageParams]) -> None:
    assert cost(make_params(width=64, height=128, steps=10, num_images=3)) == 64 * 128 * 10 * 3


def test_image_seeds_count_up_and_wrap_around() -> None:
    assert [image_seed(SEEDS - 2, index) for index in range(3)] == [SEEDS - 2, SEEDS - 1, 0]


def test_drawn_seeds_are_seeds_and_differ() -> None:
    seeds = {draw_seed() for _ in range(20)}

    assert all(0 <= seed < SEEDS for seed in seeds)
    assert len(seeds) > 15


def test_there_are_four_tasks() -> None:
    assert TASKS == ("text_to_image", "image_to_image", "inpaint", "super_resolution")
