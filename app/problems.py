"""What became of an exception: the problem that says it to a client, and the response that carries it."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.errors import (
    MEDIA_TYPE,
    BadRequest,
    Conflict,
    Internal,
    Invalid,
    MethodNotAllowed,
    NoModels,
    NotFound,
    Problem,
    ProblemBody,
    QueueFull,
    QuotaReached,
    TooCostly,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from app.faults import NO_BODIES, Bodies, Fault, faults_of
from app.jobs import failures


def problem_of(error: Exception, bodies: Bodies = NO_BODIES) -> Problem:
    """The problem that says `error` to a client; anything unforeseen is Internal and says nothing.

    `bodies` are those that were expected: their fields are named beside one that nobody knows.
    """
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _unreadable_or_invalid(error.errors(), bodies)
        case failures.SpecError():
            return Invalid.of(Fault.of_field(error.field, error.message))
        case failures.UnknownModel():
            return Invalid.of(Fault.of_field("model", f"must be one of {', '.join(error.known)}"))
        case failures.IdempotencyConflict():
            return Invalid.of(Fault(parameter="idempotency-key", detail="was used before, for another request"))
        case failures.BadCursor():
            return Invalid.of(Fault(parameter="cursor", detail="must come from the rel=next link of a page"))
        case failures.BadSearch():
            return Invalid.of(Fault(parameter=error.field, detail=error.message))
        case failures.TooManyTags():
            return Invalid.of(Fault.of_field("tags", f"must be at most {error.limit} on an image"))
        case failures.NotCancellable():
            return Conflict(f"The job has already {error.state}.")
        case failures.NotFound() | failures.NoSuchFile():
            return NotFound("No such thing is known here.")
        case failures.CatalogueEmpty():
            return NoModels("No worker has offered a model yet: the first one is still warming up, or none runs.")
        case failures.QueueFull():
            return QueueFull(f"{error.limit} jobs are waiting already, so nothing was queued.")
        case failures.QuotaReached():
            return QuotaReached(f"{error}.", retry_after_s=math.ceil(error.retry_after_s))
        case failures.TooCostly():
            return TooCostly(f"{error}.")
        case failures.BadPicture():
            return Invalid.of(Fault(pointer="#", detail=str(error)))
        case failures.InputGone():
            return Invalid.of(Fault.of_field(error.role, "is not stored any more; send it again"))
        case failures.Busy():
            return Unavailable("Too many large pictures came at once.")
        case failures.StoreUnavailable():
            return Unavailable("The database does not answer.")
        case failures.StorageError():
            return Unavailable("The file storage does not answer.")
        case HTTPException():
            return _of_status(error)
        case _:
            return Internal("The log has the details under this request's id.")


def response_of(problem: Problem, request_id: str) -> JSONResponse:
    """`problem` as the response a client of the API gets."""
    body = ProblemBody(
        type=f"urn:darkroom:problem:{problem.slug}",
        title=problem.title,
        status=problem.status,
        detail=problem.sentence,
        instance=f"urn:uuid:{request_id}",
        errors=list(problem.faults) or None,
    )
    content = body.model_dump(exclude_none=True)
    return JSONResponse(content, problem.status_code, dict(problem.headers or {}), media_type=MEDIA_TYPE)


def _unreadable_or_invalid(found: Sequence[Mapping[str, Any]], bodies: Bodies) -> Problem:
    if any(finding["type"] == "json_invalid" for finding in found):
        return BadRequest("The body is not JSON.")
    return Invalid.of(*faults_of(found, bodies))


def _of_status(error: HTTPException) -> Problem:
    """What the framework raised by number alone, as the problem of that number."""
    match error.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return Unauthorized("The Authorization header cannot be read.", is_wrong=True)
        case HTTPStatus.NOT_FOUND:
            return NotFound("No such thing is known here.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return MethodNotAllowed("Allow lists the methods that are offered.", headers=error.headers)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge("The body is too large.")
        case HTTPStatus.INTERNAL_SERVER_ERROR:
            return Internal("The log has the details under this request's id.")
        case _:
            return BadRequest("The request cannot be read.")
