"""The OpenAPI document: what FastAPI knows of the routes, and what it does not.

What the door refuses, any route may be seen to answer: that is said here once, not beside every route.  Links say
which answer names whom, so that a reader, or a machine that tries every way through the API, can go on from there.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.dialects.errors import describe_in_dialect
from app.dialects.errors import schemas as dialect_schemas
from app.errors import (
    BadRequest,
    CrossSite,
    Internal,
    Invalid,
    Problem,
    ProblemBody,
    TooLarge,
    TooOften,
    TooSlow,
    Unauthorized,
    Unavailable,
    WrongHost,
    documented,
    kinds,
)

Document = dict[str, Any]

API_VERSION = "1.0"

OPEN = documented(WrongHost, Internal)
"""What any route may answer."""

GUARDED = OPEN | documented(Unauthorized, TooOften, Unavailable)
"""What any route may answer that needs a key."""

_FIRST_SENTENCE = re.compile(r".*?(?=[.:;](\s|$)|$)", re.DOTALL)

_METHODS = ("get", "head", "put", "post", "patch", "delete")
_UNSAFE = ("put", "post", "patch", "delete")

_JOBS = ("getJob", "watchJob", "cancelJob", "retryJob")
_IMAGES = (
    *("getImage", "getImageContent", "getImageThumbnail", "getTrajectory", "verifyImage"),
    *("judgeImage", "deleteImage", "restoreImage"),
)
_A_JOB = dict.fromkeys(_JOBS, ("id", "$response.body#/id"))
_ITS_IMAGES = dict.fromkeys(_IMAGES, ("id", "$response.body#/images/0/id"))
_LISTED_IMAGES = dict.fromkeys(_IMAGES, ("id", "$response.body#/items/0/id"))

LINKS: Mapping[tuple[str, str], Mapping[str, tuple[str, str]]] = {
    ("submitJob", "202"): _A_JOB,
    ("retryJob", "202"): _A_JOB,
    ("verifyImage", "202"): _A_JOB,
    ("decodeTrajectoryStep", "202"): _A_JOB,
    ("getJob", "200"): {**_A_JOB, **_ITS_IMAGES},
    ("listImages", "200"): {**_LISTED_IMAGES, "listImages": ("cursor", "$response.body#/next_cursor")},
    ("listJobs", "200"): {"listJobs": ("cursor", "$response.body#/next_cursor")},
}
"""Which operations go on from which answer, and where it names what they are about."""


def describe(document: Document) -> Document:
    """The document, completed in place."""
    problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = document["components"]["schemas"]
    schemas |= {**problem.pop("$defs", {}), "ProblemBody": problem, **dialect_schemas()}
    document["components"]["examples"] = {kind.slug: kind.example() for kind in kinds()}
    for method, operation in operations(document):
        operation["summary"] = _FIRST_SENTENCE.match(operation["description"])[0]  # type: ignore[index]
        for each in _problems_of(method, operation):
            _add(operation["responses"], each)
        _link(operation)
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                describe_in_dialect(path, methods[method])
    # FastAPI's own shape of a 422 is never sent.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def operations(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation of the document, with its method."""
    for path in document["paths"].values():
        yield from ((method, path[method]) for method in _METHODS if method in path)


def _problems_of(method: str, operation: Mapping[str, Any]) -> Iterator[type[Problem]]:
    if method in _UNSAFE:
        yield CrossSite
    if "requestBody" in operation:
        yield from (BadRequest, TooSlow, TooLarge)
    if "422" in operation["responses"]:
        yield Invalid
    if operation.get("security"):
        yield from (TooOften, Unavailable)
    yield WrongHost


def _add(responses: dict[str, Any], kind: type[Problem]) -> None:
    """Let the operation answer with this problem too."""
    ((status, described),) = documented(kind).items()
    known = responses.get(str(status), {})
    ((media_type, content),) = described["content"].items()
    others = known.get("content", {})
    examples = others.get(media_type, {}).get("examples", {})
    # One dictionary may serve many operations: a new one is made.
    content = {**content, "examples": {**examples, **content["examples"]}}
    responses[str(status)] = {**described, **known, "content": {**others, media_type: content}}


def _link(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        following = LINKS.get((operation["operationId"], status), {})
        if following:
            response["links"] = {
                name: {"operationId": name, "parameters": {parameter: where}}
                for name, (parameter, where) in following.items()
            }
