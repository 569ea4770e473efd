"""A fault names the field and what is allowed, and never what was sent."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.faults import Fault, faults_of
from app.jobs.spec import TextToImage

SECRET = "swordfish"


def fault(**fields: Any) -> Fault:
    """The one fault of a wish with these fields."""
    with pytest.raises(ValidationError) as caught:
        TextToImage.model_validate({"task": "text_to_image", "prompt": "a cat"} | fields)
    found = [{**each, "loc": ("body", *each["loc"])} for each in caught.value.errors()]
    (only,) = faults_of(found, {"": list(TextToImage.model_fields)})
    return only


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 1001}, "steps must be at most 1000"),
        ({"steps": SECRET}, "steps must be a whole number"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"steps": True}, "steps must be a whole number"),
        ({"seed": 2**32}, "seed must be less than 4294967296"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number"),
        ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number"),
        ({"guidance_scale": SECRET}, "guidance_scale must be a number"),
        ({"prompt": ""}, "prompt must have at least 1 character"),
        ({"prompt": SECRET * 300}, "prompt must have at most 2000 characters"),
        ({"prompt": 7}, "prompt must be text that is valid Unicode"),
        ({"prompt": "\ud800"}, "prompt must be text that is valid Unicode"),
        ({"prompt": f"{SECRET}\0"}, "prompt must not contain NUL"),
        ({"format": SECRET}, "format must be 'png', 'webp' or 'jpeg'"),
        ({"metadata": SECRET}, "metadata must be true or false"),
        ({"eta": 0.5, "sampler": "ddpm"}, "eta must be 0 unless sampler is ddim"),
        ({"task": SECRET}, "task must be 'text_to_image'"),
    ],
)
def test_each_fault_says_what_is_allowed_and_not_what_was_sent(fields: dict[str, Any], sentence: str) -> None:
    found = fault(**fields)
    assert found.sentence == sentence
    assert SECRET not in found.model_dump_json()


def test_an_unknown_field_is_named_beside_the_known_ones() -> None:
    found = fault(promt="a dog")
    assert found.pointer == "#/promt"
    assert found.sentence.startswith("promt is not known here; known are task, prompt, negative_prompt,")


def test_a_missing_field_is_required() -> None:
    found = faults_of([{"type": "missing", "loc": ("body", "prompt"), "msg": "Field required"}])
    assert [each.sentence for each in found] == ["prompt is required"]


def test_a_body_that_is_no_object_is_a_fault_of_the_body() -> None:
    (found,) = faults_of([{"type": "model_type", "loc": ("body",), "msg": SECRET}])
    assert (found.pointer, found.sentence) == ("#", "the body must be an object")


def test_a_pointer_escapes_what_json_pointers_escape() -> None:
    (found,) = faults_of([{"type": "extra_forbidden", "loc": ("body", "a/b~c"), "msg": ""}])
    assert found.pointer == "#/a~1b~0c"


def test_the_name_of_an_unknown_field_is_cut_and_made_printable() -> None:
    (found,) = faults_of([{"type": "extra_forbidden", "loc": ("body", "\ud800" + "x" * 1000), "msg": ""}])
    assert found.pointer is not None
    assert len(found.pointer) < 80
    found.pointer.encode("ascii")


def test_a_fault_outside_the_body_names_the_parameter() -> None:
    (found,) = faults_of([{"type": "greater_than_equal", "loc": ("query", "limit"), "msg": "", "ctx": {"ge": 1}}])
    assert (found.parameter, found.pointer, found.sentence) == ("limit", None, "limit must be at least 1")
