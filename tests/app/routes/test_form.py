"""The form's fields become a wish, and what is wrong with it stands beside the field."""

from urllib.parse import parse_qs

import pytest

from app.errors import Invalid
from app.jobs.catalogue import CatalogueEntry
from app.jobs.spec import TextToImage, resolve
from app.routes import form


def filled(**fields: str) -> dict[str, str]:
    return form.read({"prompt": "a cat", **fields})


def test_empty_fields_ask_for_nothing() -> None:
    assert form.wish_of(filled(steps="", seed=" ", size="")) == TextToImage(task="text_to_image", prompt="a cat")


def test_every_field_reaches_the_wish() -> None:
    wish = form.wish_of(
        filled(
            negative_prompt="a dog",
            model="storybook",
            size="96x64",
            num_images="3",
            upscale="2",
            steps="12",
            guidance_scale="2.5",
            sampler="ddpm",
            seed="0",
            format="webp",
            reproducible="true",
            save_trajectory="true",
        )
    )
    assert wish == TextToImage(
        task="text_to_image",
        prompt="a cat",
        negative_prompt="a dog",
        model="storybook",
        width=96,
        height=64,
        num_images=3,
        upscale=2,
        steps=12,
        guidance_scale=2.5,
        sampler="ddpm",
        seed=0,
        format="webp",
        reproducible=True,
        save_trajectory=True,
    )


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"steps": "0"}, "steps", "This must be at least 1."),
        ({"steps": "many"}, "steps", "This must be a whole number."),
        ({"guidance_scale": "nan"}, "guidance_scale", "This must be a finite number."),
        ({"upscale": "3"}, "upscale", "This must be one of 1, 2, 4."),
        ({"size": "wide"}, "size", "This must be a whole number."),
        ({"prompt": ""}, "prompt", "This is required."),
        ({"prompt": " \n"}, "prompt", "This is required."),
    ],
)
def test_what_is_wrong_stands_beside_its_field(fields: dict[str, str], field: str, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        form.wish_of(filled(**fields))
    assert form.sentences(caught.value.faults)[field] == sentence


def test_what_is_no_field_of_the_form_is_dropped() -> None:
    assert "colour" not in form.read({"prompt": "a cat", "colour": "red"})


def test_a_recipe_fills_the_form_so_that_it_asks_for_the_recipe_again(entry: CatalogueEntry) -> None:
    size = {"width": 96, "height": 64}
    wish = TextToImage(task="text_to_image", prompt="a cat & a dog", guidance_scale=2.5, reproducible=True, **size)
    params = resolve(wish, entry, seed=3)
    fields = {name: values[0] for name, values in parse_qs(form.query_of(params, seed=3)).items()}
    assert resolve(form.wish_of(form.read(fields)), entry, seed=0) == params


def test_sizes_are_the_models_own_and_those_it_can_stretch_to(entry: CatalogueEntry) -> None:
    assert [value for value, _ in form.sizes(entry)] == ["128x128", "192x128", "128x192", "256x256"]
    narrow = entry.model_copy(update={"max_side": 128})
    assert [value for value, _ in form.sizes(narrow)] == ["128x128"]


def test_every_size_offered_is_one_the_model_takes(entry: CatalogueEntry) -> None:
    for multiple in (8, 16, 64):
        fussy = entry.model_copy(update={"multiple": multiple})
        for value, _ in form.sizes(fussy):
            resolve(form.wish_of(filled(size=value)), fussy, seed=0)


def test_a_size_that_a_recipe_asks_for_is_offered_beside_the_models_own(entry: CatalogueEntry) -> None:
    own = form.sizes(entry)
    assert form.sizes(entry, "96x64") == [*own, ("96x64", "96 × 64")]
    assert form.sizes(entry, "192x128") == own


def test_a_larger_print_is_offered_where_a_model_makes_pictures_larger(entry: CatalogueEntry) -> None:
    enlarger = entry.model_copy(update={"name": "loupe", "tasks": ["super_resolution"], "scale": 2})
    assert form.upscales([entry]) == []
    assert form.upscales([entry, enlarger]) == [1, 2]
    assert form.upscales([entry, enlarger.model_copy(update={"scale": 4})]) == [1, 2, 4]
