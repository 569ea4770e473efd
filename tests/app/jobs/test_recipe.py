"""What a file says of how it was made, and what can be read from one that somebody else made."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.jobs.recipe import (
    DIGITAL_SOURCE_TYPE,
    MAX_TEXT_LENGTH,
    NoRecipe,
    Recipe,
    embedding,
    infotext,
    parse_infotext,
    read,
    xmp,
)
from app.jobs.spec import TASKS, TextToImageParams, Upscaler, read_params

FORMATS = ("png", "webp", "jpeg")

prompts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
recipes = st.builds(
    Recipe,
    prompt=prompts,
    negative_prompt=prompts,
    model=st.none()
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40),
    revision=st.none() | st.text("0123456789abcdef", min_size=8, max_size=12),
    width=st.none() | st.integers(1, 16_384),
    height=st.none() | st.integers(1, 16_384),
    steps=st.none() | st.integers(1, 1000),
    guidance_scale=st.none() | st.floats(0, 50),
    sampler=st.none() | st.sampled_from(["ddim", "ddpm", "euler_ancestral", "something_new"]),
    eta=st.none() | st.floats(0, 1),
    seed=st.none() | st.integers(0, 2**32 - 1),
    task=st.sampled_from(TASKS),
    prompt_syntax=st.sampled_from([None, "plain", "weighted"]),
    guidance_interval=st.none() | st.tuples(st.floats(0, 0.5), st.floats(0.5, 1)),
    image=st.none() | st.just("sha256:" + "ab" * 32),
    mask=st.none() | st.just("sha256:" + "cd" * 32),
    mask_mode=st.sampled_from([None, "white", "black", "transparent"]),
    feather=st.none() | st.integers(0, 64),
    strength=st.none() | st.floats(0.01, 1),
    fit=st.sampled_from([None, "cover", "contain"]),
    scale=st.sampled_from([None, 2, 4]),
    consistent=st.none() | st.booleans(),
    upscale=st.sampled_from([None, 1, 2, 4]),
    upscaler=st.none() | st.just(Upscaler(model="larger, much", steps=9, guidance_scale=1.5, sampler="ddim")),
    reproducible=st.none() | st.booleans(),
)

# Or not in that of a picture from words.
NOT_IN_THE_INFOTEXT = (
    "prompt_syntax", "guidance_interval", "image", "mask", "mask_mode", "feather", "strength", "fit", "scale",
    "consistent", "upscale", "upscaler", "reproducible",
)  # fmt: skip

SHA_OF_IMAGE, SHA_OF_MASK = "0123456789abcdef" * 4, "fedcba9876543210" * 4


@pytest.fixture
def recipe(make_params: Callable[..., TextToImageParams]) -> Recipe:
    """The recipe of the second image of a job."""
    params = make_params(prompt="a red cat", negative_prompt="rain, snow", guidance_scale=7.5, seed=41)
    return Recipe.of(params, 1, "abc123")


def save(recipe: Recipe, format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format.upper(), **embedding(recipe, format))
    return buffer.getvalue()


def png_with(text: str) -> bytes:
    info = PngInfo()
    info.add_itxt("parameters", text)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_the_recipe_of_an_image_has_the_seed_of_that_image(
    make_params: Callable[..., TextToImageParams],
) -> None:
    params = make_params(seed=2**32 - 1, num_images=2)
    assert [Recipe.of(params, index, "r").seed for index in (0, 1)] == [2**32 - 1, 0]


def test_a_recipe_holds_every_param_that_changes_pixels(
    make_params: Callable[..., TextToImageParams],
) -> None:
    params = make_params(eta=0.5)
    said = Recipe.of(params, 0, "r").model_dump()
    about_the_file_or_the_job = {
        *("version", "num_images", "format", "quality", "metadata", "priority", "save_trajectory")
    }
    assert {name: said[name] for name in params.model_dump() if name not in about_the_file_or_the_job} == {
        name: value for name, value in params.model_dump().items() if name not in about_the_file_or_the_job
    }


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_into_a_file_is_read_from_it(recipe: Recipe, format: str) -> None:
    assert read(save(recipe, format)) == recipe


@given(recipe=recipes, format=st.sampled_from(FORMATS))
@settings(deadline=None, max_examples=60)
def test_any_recipe_comes_back_exactly_from_any_format(recipe: Recipe, format: str) -> None:
    assert read(save(recipe, format)) == recipe


def test_a_prompt_of_the_longest_kind_fits_into_every_format() -> None:
    recipe = Recipe(prompt="\U0001f98a" * 2000, negative_prompt='"' * 2000)
    for format in FORMATS:
        assert read(save(recipe, format)) == recipe


GIVEN = {"image": f"sha256:{SHA_OF_IMAGE}"}
MASKED = GIVEN | {"mask": f"sha256:{SHA_OF_MASK}", "mask_mode": "black", "feather": 4, "developed_pixels": 64}


@pytest.mark.parametrize(
    ("task", "fields", "settings_line"),
    [
        ("image_to_image", GIVEN | {"strength": 0.5, "fit": "contain"}, "Denoising strength: 0.5"),
        ("inpaint", MASKED | {"strength": 1.0, "fit": "cover"}, "Mask blur: 4"),
        ("super_resolution", GIVEN | {"scale": 4, "consistent": True}, "Postprocess upscale by: 4"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_the_recipe_of_every_task_comes_back_with_what_it_was_made_from(
    make_params: Callable[..., TextToImageParams], task: str, fields: dict[str, Any], settings_line: str, format: str
) -> None:
    common = make_params(guidance_interval=[0.2, 0.8]).model_dump(exclude={"upscale", "upscaler"})
    params = read_params(common | {"task": task} | fields)
    recipe = Recipe.of(params, 0, "r1")
    again = read(save(recipe, format))
    assert again == recipe
    assert (again.task, again.image, again.guidance_interval) == (task, GIVEN["image"], (0.2, 0.8))
    for name in fields.keys() - {"developed_pixels"}:
        assert getattr(again, name) == fields[name]
    # and a tool that knows only the infotext
    assert settings_line in infotext(recipe)
    told = parse_infotext(infotext(recipe))
    assert (told.task, told.image, told.mask) == (task, GIVEN["image"], fields.get("mask"))


def test_the_recipe_of_a_picture_that_was_made_larger_says_by_what(
    make_params: Callable[..., TextToImageParams],
) -> None:
    upscaler = {"model": "storybook-x4", "steps": 9, "guidance_scale": 1.5, "sampler": "ddim"}
    params = read_params(make_params().model_dump() | {"upscale": 2, "upscaler": upscaler, "reproducible": True})
    recipe = Recipe.of(params, 0, "r1+r2")
    again = read(save(recipe, "png"))
    assert again == recipe
    assert (again.upscale, again.reproducible, again.revision) == (2, True, "r1+r2")
    assert "Hires upscale: 2, Hires steps: 9, Hires upscaler: storybook-x4" in infotext(recipe)
    told = parse_infotext(infotext(recipe))
    assert (told.task, told.upscale, told.scale) == ("text_to_image", 2, None)
    assert "Hires" not in infotext(Recipe.of(make_params(), 0, "r1"))


def test_the_recipe_of_an_enlargement_without_words_comes_back_from_the_infotext() -> None:
    recipe = Recipe(task="super_resolution", prompt="", steps=4, seed=1, scale=4, image=GIVEN["image"])
    assert parse_infotext(infotext(recipe)) == recipe


def test_the_infotext_is_as_a1111_writes_it(recipe: Recipe) -> None:
    assert infotext(recipe) == (
        "a red cat\n"
        "Negative prompt: rain, snow\n"
        "Steps: 4, Sampler: DDIM, CFG scale: 7.5, Seed: 42, Size: 128x128, Model hash: abc123, Model: storybook"
    )


def test_png_holds_the_infotext_in_an_itxt_chunk_named_parameters(recipe: Recipe) -> None:
    data = save(recipe, "png")
    chunk = b"iTXtparameters\0"
    at = data.index(chunk)
    (length,) = struct.unpack(">L", data[at - 4 : at])
    assert data[at + 4 : at + 4 + length].endswith(infotext(recipe).encode())


@pytest.mark.parametrize("format", ["webp", "jpeg"])
def test_webp_and_jpeg_hold_the_infotext_in_a_user_comment_of_the_right_type(recipe: Recipe, format: str) -> None:
    # As piexif reads it, which A1111 uses: UNDEFINED, "UNICODE", UTF-16 with the big end first.
    with Image.open(io.BytesIO(save(recipe, format))) as image:
        exif = image.info["exif"].removeprefix(b"Exif\0\0")
    assert exif[:4] == b"MM\0*"
    at = exif.index(struct.pack(">H", 0x9286))
    kind, count, offset = struct.unpack(">HLL", exif[at + 2 : at + 12])
    assert kind == 7
    comment = exif[offset : offset + count]
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be") == infotext(recipe)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_that_a_trained_model_made_it(recipe: Recipe, format: str) -> None:
    with Image.open(io.BytesIO(save(recipe, format))) as image:
        packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    (description,) = ElementTree.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[name] == DIGITAL_SOURCE_TYPE


def test_equal_recipes_are_equal_files(recipe: Recipe) -> None:
    for format in FORMATS:
        assert save(recipe, format) == save(Recipe(**recipe.model_dump()), format)


@given(
    recipe=recipes,
    prompt=st.from_regex(r"[a-z]{1,9}( [a-z:,(]{1,9}){0,5}(\n[a-z]{1,9}){0,3}", fullmatch=True),
    negative=st.from_regex(r"([a-z]{1,9}(, [a-z]{1,9}){0,5})?", fullmatch=True),
)
@settings(deadline=None)
def test_the_infotext_of_a_plain_prompt_says_it_all_but_for_the_last_digits(
    recipe: Recipe, prompt: str, negative: str
) -> None:
    plain = recipe.model_copy(
        update={
            "prompt": prompt,
            "negative_prompt": negative,
            "model": 'a, b: "c"',
            "steps": 5,
            "seed": 0,
            "sampler": "euler_ancestral",
            "guidance_scale": 7.25,
            "eta": 0.5,
            "height": None if recipe.width is None else 8,
            "task": "text_to_image",
            **dict.fromkeys(NOT_IN_THE_INFOTEXT),
        }
    )
    assert parse_infotext(infotext(plain)) == plain


def test_a_picture_of_a1111_is_understood() -> None:
    text = (
        "masterpiece, (best quality:1.2),\nfox in the snow\n"
        "Negative prompt: lowres, bad anatomy,\nblurry\n"
        "Steps: 28, Sampler: Euler a, CFG scale: 7, Seed: 1234567890, Size: 512x768, Model hash: 6ce0161689, "
        'Model: "v1-5, pruned", Denoising strength: 0.7, Lora hashes: "a: 1, b: 2", Version: v1.9.4'
    )
    assert read(png_with(text)) == Recipe(
        task="image_to_image",
        prompt="masterpiece, (best quality:1.2),\nfox in the snow",
        negative_prompt="lowres, bad anatomy,\nblurry",
        model="v1-5, pruned",
        revision="6ce0161689",
        width=512,
        height=768,
        steps=28,
        guidance_scale=7.0,
        sampler="euler_ancestral",
        seed=1234567890,
        strength=0.7,
    )


def test_a_picture_that_a1111_made_from_words_and_enlarged_is_one_from_words() -> None:
    text = "a fox\nSteps: 28, Sampler: Euler a, CFG scale: 7, Denoising strength: 0.7, Hires upscale: 2"
    assert parse_infotext(text).task == "text_to_image"


def test_text_without_settings_is_all_prompt() -> None:
    assert parse_infotext("a house\nwith a: colon") == Recipe(prompt="a house\nwith a: colon")


def test_settings_that_make_no_sense_count_as_not_said() -> None:
    text = "x\nSteps: many, Sampler: Heun, CFG scale: nan, Seed: -1, Size: big, Eta DDIM: 1e999"
    assert parse_infotext(text) == Recipe(prompt="x", sampler="Heun")


def test_an_infotext_longer_than_any_recipe_is_refused() -> None:
    with pytest.raises(NoRecipe, match=str(MAX_TEXT_LENGTH)):
        parse_infotext("x" * (MAX_TEXT_LENGTH + 1))


@given(text=st.text(st.sampled_from('ab:, "\\\n'), max_size=2000))
@settings(deadline=2000)
def test_no_text_breaks_the_reader_or_keeps_it_busy(text: str) -> None:
    parse_infotext(text)


def test_a_long_last_line_is_read_as_prompt_and_not_searched() -> None:
    line = "a" * 60_000
    assert parse_infotext(line) == Recipe(prompt=line)


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", png_with("")],
    ids=["empty", "gif", "half a png", "no text"],
)
def test_files_without_a_recipe_are_said_to_have_none(data: bytes) -> None:
    with pytest.raises(NoRecipe):
        read(data)


def test_a_picture_too_large_to_decode_is_still_read(recipe: Recipe) -> None:
    data = bytearray(save(recipe, "png"))
    # 13000 x 13000 in the header: Pillow warns of such pictures, and warnings are errors to some.
    header = b"IHDR" + struct.pack(">LL", 13_000, 13_000) + bytes(data[24:29])
    data[12:33] = header + struct.pack(">L", zlib.crc32(header))
    assert read(bytes(data)) == recipe


def test_a_packet_with_entities_or_of_somebody_else_is_not_believed(recipe: Recipe) -> None:
    genuine = xmp(recipe)
    assert '"prompt"' in genuine
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + genuine
    foreign = genuine.replace("urn:darkroom:recipe:1", "urn:somebody:else")
    broken = genuine.replace('"prompt"', '"wish"')
    for packet in (bomb, foreign, broken, genuine[:-40]):
        info = PngInfo()
        info.add_itxt("parameters", "what is left")
        info.add_itxt("XML:com.adobe.xmp", packet)
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16)).save(buffer, "PNG", pnginfo=info)
        assert read(buffer.getvalue()) == Recipe(prompt="what is left")


def test_the_packet_is_json_inside_xml_whatever_the_prompt() -> None:
    recipe = Recipe(prompt='\x01 </rdf:RDF> ]]> " & \ufffe \U0001f98a \x7f')
    description = ElementTree.fromstring(xmp(recipe)).find(
        ".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    assert description is not None
    assert json.loads(description.attrib["{urn:darkroom:recipe:1}recipe"])["prompt"] == recipe.prompt
