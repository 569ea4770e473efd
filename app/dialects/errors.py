"""What goes wrong, in the shapes that the clients of other services read.

Undeveloped        500   the job failed
  Unwanted         409   somebody cancelled the job
  NotNow           503   nobody could do the job, and later somebody may
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from app.errors import Internal, Invalid, Problem
from app.jobs.failures import ErrorCode
from app.jobs.store import Job, State

OPENAI_PREFIX = "/v1/"

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


def openai_error(problem: Problem) -> dict[str, Any]:
    """The body of an OpenAI error."""
    field = problem.faults[0].subject if problem.faults else None
    return {
        "error": {
            "message": problem.sentence,
            "type": _type_of(problem.status),
            "param": None if field == "the body" else field,
            "code": _CODES.get(problem.status, problem.slug.replace("-", "_")),
        }
    }


def openai_status(problem: Problem) -> int:
    """Its status: what is impossible is a bad request there."""
    is_impossible = problem.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.BAD_REQUEST if is_impossible else problem.status


def _openai(problem: Problem) -> JSONResponse:
    return JSONResponse(openai_error(problem), openai_status(problem), dict(problem.headers or {}))


_SHAPES: Mapping[str, Callable[[Problem], JSONResponse]] = {OPENAI_PREFIX: _openai}


def in_dialect(path: str, problem: Problem) -> JSONResponse | None:
    """The response that says `problem` to a client of the dialect that `path` belongs to; None if it is of none."""
    # Not the routes: what is not found, or not let in, has none.
    return next((say(problem) for prefix, say in _SHAPES.items() if path.startswith(prefix)), None)


_CODES = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid_value",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
    Internal.status: "internal_error",
}


def _type_of(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "requests"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
