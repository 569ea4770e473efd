"""Forms whose fields are those of a wish, by name: texts in, the wish or what is wrong with it out."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import ValidationError

from app.errors import Invalid
from app.faults import Fault, faults_in_form
from app.jobs.spec import Inpaint, SuperResolution, TextToImage

W = TypeVar("W", TextToImage, Inpaint, SuperResolution)


def read(sent: Mapping[str, str], fields: Sequence[str]) -> dict[str, str]:
    """The `fields` of what was sent, "" for what is not there; anything else is dropped."""
    return {field: sent.get(field, "") for field in fields}


def wish_of(kind: type[W], fields: Mapping[str, str]) -> W:
    """What the fields ask for; an empty one asks for nothing.  Raises: Invalid."""
    said = {field: text for field, text in fields.items() if text.strip()}
    try:
        return kind.model_validate_strings(said)
    except ValidationError as error:
        raise Invalid.of(*faults_in_form(error)) from None


def sentences(faults: Sequence[Fault], fields: Sequence[str]) -> dict[str, str]:
    """What to write beside each of the fields; under "" what belongs to none of them."""
    beside = dict.fromkeys(("", *fields), "")
    for fault in faults:
        if fault.subject in fields:
            beside[fault.subject] = f"This {fault.detail}."
        else:
            beside[""] += f"{fault.sentence}. ".capitalize()
    return beside
