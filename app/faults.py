"""What is wrong with a part of a request: words that name what is allowed and never repeat what was sent."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Bodies = Mapping[str, Sequence[str]]
"""The fields of each kind of body that a route takes, by its tag; "" where there is one kind, and no tag."""

NO_BODIES: Bodies = {}

# Long enough for any field of ours, short enough to be no echo.
MAX_NAME_CHARACTERS = 64


class Fault(BaseModel):
    """One thing that is wrong with a request: where, and what is allowed there."""

    model_config = ConfigDict(frozen=True)

    detail: str = Field(examples=["must be less than or equal to 1000"])
    pointer: str | None = Field(None, description="JSON pointer into the body, as a URI fragment", examples=["#/steps"])
    parameter: str | None = Field(None, description="the query parameter, header or part of the path")

    @classmethod
    def of_field(cls, field: str, detail: str) -> Self:
        """A fault of a field of the body."""
        return cls(pointer=_pointer((field,)), detail=detail)

    @classmethod
    def of_item(cls, field: str, place: int, detail: str) -> Self:
        """A fault of one item of a list in the body."""
        return cls(pointer=_pointer((field, place)), detail=detail)

    @property
    def subject(self) -> str:
        """What the detail speaks of: the field's name, or the body."""
        if self.parameter is not None:
            return self.parameter
        return (self.pointer or "#").removeprefix("#").removeprefix("/") or "the body"

    @property
    def sentence(self) -> str:
        """Subject and detail, read as one."""
        return f"{self.subject} {self.detail}"


def faults_of(found: Sequence[Mapping[str, Any]], bodies: Bodies = NO_BODIES) -> list[Fault]:
    """Pydantic's findings about a request, in our words; the fields of `bodies` are named beside an unknown one."""
    return [_fault(finding, bodies) for finding in found]


def faults_in_form(error: ValidationError) -> list[Fault]:
    """What is wrong with the fields of a form, named as those of a body."""
    return [_fault({**finding, "loc": ("body", *finding["loc"])}, NO_BODIES) for finding in error.errors()]


def _fault(finding: Mapping[str, Any], bodies: Bodies) -> Fault:
    place, *path = finding["loc"] or ("body",)
    # Where there are several kinds of body, the first name is not a field but the kind.
    tag = str(path.pop(0)) if place == "body" and path and path[0] in bodies else ""
    detail = _detail(finding, bodies.get(tag, ()))
    if finding["type"] in ("union_tag_not_found", "union_tag_invalid"):
        path.append(finding["ctx"]["discriminator"].strip("'"))
    if place == "body":
        return Fault(pointer=_pointer(path), detail=detail)
    return Fault(parameter=".".join(map(_printable, path)), detail=detail)


def _detail(finding: Mapping[str, Any], known_fields: Sequence[str]) -> str:
    context = finding.get("ctx", {})
    match finding["type"]:
        case "missing" | "union_tag_not_found":
            return "is required"
        case "extra_forbidden":
            return "is not known here" + (f"; known are {', '.join(known_fields)}" if known_fields else "")
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "greater_than":
            return f"must be greater than {context['gt']:g}"
        case "less_than":
            return f"must be less than {context['lt']}"
        case "string_too_short":
            return f"must have at least {context['min_length']} character{'s' * (context['min_length'] > 1)}"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "float_type" | "float_parsing":
            return "must be a number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "finite_number":
            return "must be a finite number"
        case "string_type" | "string_unicode":
            return "must be text that is valid Unicode"
        case "literal_error" | "enum":
            return f"must be {context['expected']}"
        case "union_tag_invalid":
            return f"must be one of {context['expected_tags']}"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "too_long" | "too_short" if context["field_type"] == "List":
            bound = "at most {max_length}" if finding["type"] == "too_long" else "at least {min_length}"
            return f"must be {bound.format_map(context)} of them"
        case "list_type":
            return "must be a list"
        case "tuple_type" | "too_long" | "too_short":
            return "must be a list of two numbers"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be an object"
        case _:
            # Pydantic's own words never repeat the input for the types our bodies are made of.
            return str(finding["msg"]).replace("Input should", "must")


def _pointer(path: Sequence[str | int]) -> str:
    return "#" + "".join("/" + _printable(part).replace("~", "~0").replace("/", "~1") for part in path)


def _printable(part: str | int) -> str:
    # A stranger's field name may hold anything, lone surrogates included.
    return ascii(str(part))[1:-1][:MAX_NAME_CHARACTERS]
