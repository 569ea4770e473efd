"""What goes wrong, in the shapes that the clients of other services read.

Undeveloped        500   the job failed
  Unwanted         409   somebody cancelled the job
  NotNow           503   nobody could do the job, and later somebody may
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from app.errors import MEDIA_TYPE, Invalid, Problem, kinds
from app.jobs.failures import ErrorCode
from app.jobs.store import Job, State
from app.schemas import openai, sdapi

_ONCE_IS_ENOUGH = {"x-should-retry": "false"}


class Undeveloped(Problem):
    """The job has failed; who asks again at once would be told of the same one."""

    status, slug, title = HTTPStatus.INTERNAL_SERVER_ERROR, "job-failed", "The job failed"

    def __init__(self, detail: str) -> None:
        """Say why, and that asking again is of no use."""
        super().__init__(detail, headers=_ONCE_IS_ENOUGH)


class Unwanted(Undeveloped):
    """The job was cancelled while its client waited."""

    status, slug, title = HTTPStatus.CONFLICT, "job-cancelled", "The job was cancelled"


class NotNow(Undeveloped):
    """The job was given up for want of somebody who does it."""

    status, slug, title = HTTPStatus.SERVICE_UNAVAILABLE, "job-given-up", "Nobody could do the job"


def problem_of_job(job: Job) -> Problem:
    """Why there are no pictures of a job that has ended."""
    if job.state is State.CANCELLED or job.error is None:
        return Unwanted("The job was cancelled before it was done.")
    match job.error.code:
        case ErrorCode.BAD_PARAMS | ErrorCode.NON_FINITE | ErrorCode.OUT_OF_MEMORY:
            return Invalid(job.error.message)
        case ErrorCode.MODEL_UNAVAILABLE | ErrorCode.INFRASTRUCTURE:
            return NotNow(job.error.message)
        case _:
            return Undeveloped(job.error.message)


@dataclass(frozen=True, slots=True)
class Said:
    """What a dialect says of a problem: its kind, a sentence, and the field that is to blame, if it is one."""

    kind: type[Problem]
    sentence: str
    field: str | None = None

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Of one that has happened."""
        field = problem.faults[0].subject if problem.faults else None
        return cls(type(problem), problem.sentence, None if field == "the body" else field)


def openai_error(said: Said) -> dict[str, Any]:
    """The body of an OpenAI error."""
    kind = said.kind
    code = _OPENAI_CODES.get(kind.status, kind.slug.replace("-", "_"))
    return {"error": {"message": said.sentence, "type": _openai_type(kind.status), "param": said.field, "code": code}}


@dataclass(frozen=True, slots=True)
class Shape:
    """How a dialect writes an error: its body, the body's model, and how the status of an impossible wish is told."""

    body: Callable[[Said], dict[str, Any]]
    model: type[BaseModel]
    impossible: HTTPStatus

    def status(self, kind: type[Problem]) -> int:
        """The status of this kind of problem."""
        return int(self.impossible if kind.status == HTTPStatus.UNPROCESSABLE_ENTITY else kind.status)


def sdapi_error(said: Said) -> dict[str, Any]:
    """The body of an error of AUTOMATIC1111's API."""
    name = said.kind.slug.replace("-", " ").title().replace(" ", "")
    return {"error": name, "detail": said.sentence, "body": "", "errors": said.sentence}


_SHAPES: Mapping[str, Shape] = {
    "/v1/": Shape(openai_error, openai.OpenAIErrorOut, HTTPStatus.BAD_REQUEST),
    "/sdapi/v1/": Shape(sdapi_error, sdapi.SdapiErrorOut, HTTPStatus.UNPROCESSABLE_ENTITY),
}


def in_dialect(path: str, problem: Problem) -> JSONResponse | None:
    """The response that says `problem` to a client of the dialect that `path` belongs to; None if it is of none."""
    shape = _shape_of(path)
    if shape is None:
        return None
    return JSONResponse(shape.body(Said.of(problem)), shape.status(type(problem)), dict(problem.headers or {}))


def schemas() -> dict[str, Any]:
    """The shapes, as the description of the API names them."""
    found: dict[str, Any] = {}
    for shape in _SHAPES.values():
        schema = shape.model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= {**schema.pop("$defs", {}), shape.model.__name__: schema}
    return found


def describe_in_dialect(path: str, operation: dict[str, Any]) -> None:
    """Let the description of a dialect's operation say its problems in the dialect's shape."""
    shape = _shape_of(path)
    if shape is None:
        return
    by_slug = {kind.slug: kind for kind in kinds()}
    responses = operation["responses"]
    schema = {"$ref": f"#/components/schemas/{shape.model.__name__}"}
    for status in [status for status in responses if int(status) >= HTTPStatus.BAD_REQUEST]:
        response = responses.pop(status)
        for slug in response["content"][MEDIA_TYPE]["examples"]:
            kind = by_slug[slug]
            told = responses.setdefault(str(shape.status(kind)), {**response, "content": {}})
            content = told["content"].setdefault("application/json", {"schema": schema, "examples": {}})
            example = shape.body(Said(kind, kind.example()["value"]["detail"]))
            content["examples"][slug] = {"summary": kind.title, "value": example}


def _shape_of(path: str) -> Shape | None:
    # Not by the routes: what is not found, or not let in, has none.
    return next((shape for prefix, shape in _SHAPES.items() if path.startswith(prefix)), None)


_OPENAI_CODES = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid_value",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
}


def _openai_type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "requests"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
