"""What can go wrong at the front door, and the one shape it is said in: RFC 9457 problem+json.

    Problem
      BadRequest          400   the request cannot be read
      WrongHost           400   the Host header names another server
      Unauthorized        401   a key is needed, and none or a wrong one was shown
      Forbidden           403   the key is good, but not an admin's
      TooCostly           403   the job is larger than any that the key may ask for
      CrossSite           403   another web page tried to act here
      NotFound            404   nothing is here, or it is somebody else's
      MethodNotAllowed    405   something is here, but it does not do that
      Conflict            409   what is asked does not fit the state the thing is in
      TooSlow             408   the body did not arrive in time
      TooLarge            413   the body is larger than any we want
      UnsupportedMedia    415   the body is of a kind we do not read here
      NotSatisfiable      416   the part of the file that is asked for lies beyond its end
      Invalid             422   the request can be read, and asks for something impossible
      TooMany             429   the key's share is used up just now; Retry-After says until when
        TooOften          429   more requests a minute than the key may send
        QuotaReached      429   as many jobs that wait, or as many uploads, as the key may have
      Internal            500   a defect of ours
      Unavailable         503   it may work later; Retry-After says when
        NoModels          503   no worker has registered a model yet
        QueueFull         503   as many jobs wait as the settings allow

A problem never repeats what the client sent, except the name of a field that nobody knows.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.faults import Fault

MEDIA_TYPE = "application/problem+json"


class ProblemBody(BaseModel):
    """An error as RFC 9457 writes it."""

    type: str = Field(examples=["urn:darkroom:problem:invalid"])
    title: str = Field(examples=["The request asks for something impossible"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["steps must be at most 1000"])
    instance: str = Field(description="names this one request; the log has it too", examples=["urn:uuid:..."])
    errors: list[Fault] | None = Field(None, description="what is wrong with the body or the parameters, each part")


class Problem(HTTPException):
    """Root of every error the front door answers with.  A subclass fixes status, type and title."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    slug: ClassVar[str] = "problem"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, *, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None) -> None:
        """Say what happened in one sentence; `faults` lists the parts of the request that are to blame."""
        super().__init__(self.status, detail, headers)
        self.sentence = detail
        self.faults = tuple(faults)

    @classmethod
    def example(cls) -> dict[str, Any]:
        """What it looks like, for the description of the API."""
        said = {"type": f"urn:darkroom:problem:{cls.slug}", "title": cls.title, "status": int(cls.status)}
        said |= {"detail": (cls.__doc__ or cls.title).splitlines()[0], "instance": f"urn:uuid:{'0' * 32}"}
        return {"summary": cls.title, "value": said}


class BadRequest(Problem):
    """The request cannot be read."""

    status, slug, title = HTTPStatus.BAD_REQUEST, "bad-request", "The request cannot be read"


class WrongHost(Problem):
    """The Host header names another server, as a rebound DNS name would."""

    status, slug, title = HTTPStatus.BAD_REQUEST, "wrong-host", "The request was meant for another host"


class Unauthorized(Problem):
    """A key is needed here, and none or a wrong one was shown."""

    status, slug, title = HTTPStatus.UNAUTHORIZED, "unauthorized", "A key is needed here"

    def __init__(self, detail: str, *, is_wrong: bool = False) -> None:
        """Say what is missing; WWW-Authenticate says what kind of thing would do."""
        challenge = 'Bearer realm="darkroom"' + (', error="invalid_token"' if is_wrong else "")
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(Problem):
    """The key is good, and this is not for whoever has it."""

    status, slug, title = HTTPStatus.FORBIDDEN, "forbidden", "This needs an admin's key"


class TooCostly(Problem):
    """The job is larger than any that the key may ask for."""

    status, slug, title = HTTPStatus.FORBIDDEN, "too-costly", "The job is too large for this key"


class CrossSite(Problem):
    """Another web page tried to act here in the name of whoever is looking at it."""

    status, slug, title = HTTPStatus.FORBIDDEN, "cross-site", "The request came from another web page"


class NotFound(Problem):
    """Nothing is here, or it is somebody else's; nobody learns which."""

    status, slug, title = HTTPStatus.NOT_FOUND, "not-found", "There is nothing here"


class MethodNotAllowed(Problem):
    """Something is here, but it does not do that."""

    status, slug, title = (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This method is not offered here",
    )


class TooSlow(Problem):
    """The body did not arrive in time."""

    status, slug, title = HTTPStatus.REQUEST_TIMEOUT, "too-slow", "The request did not arrive in time"


class Conflict(Problem):
    """What is asked does not fit the state the thing is in."""

    status, slug, title = HTTPStatus.CONFLICT, "conflict", "This cannot be done any more"


class TooLarge(Problem):
    """The body is larger than any that makes sense here."""

    status, slug, title = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", "The request is too large"


class UnsupportedMedia(Problem):
    """The body is of a kind that is not read here."""

    status, slug, title = (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "The body is of a kind that is not read here",
    )


class NotSatisfiable(Problem):
    """The part of the file that is asked for lies beyond its end."""

    status, slug, title = (
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "range-not-satisfiable",
        "There is no such part of the file",
    )


class Invalid(Problem):
    """The request can be read, and asks for something impossible."""

    status, slug = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"
    title = "The request asks for something impossible"

    @classmethod
    def of(cls, *faults: Fault) -> Self:
        """The problem whose sentence is its faults, joined."""
        return cls("; ".join(fault.sentence for fault in faults), faults=faults)


class TooMany(Problem):
    """The key's share of the service is used up just now."""

    status, slug, title = HTTPStatus.TOO_MANY_REQUESTS, "too-many", "This key has had its share for now"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        """Say what the share is; Retry-After says when there is more of it."""
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class TooOften(TooMany):
    """More requests came within a minute than the key may send."""

    slug, title = "too-often", "This key asks too often"


class QuotaReached(TooMany):
    """As many jobs wait, or as many uploads are kept, as the key may have."""

    slug, title = "quota-reached", "This key has as much as it may have"


class Internal(Problem):
    """A defect of ours; the log has the details, the client does not."""

    status, slug, title = (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "Something went wrong inside the service",
    )


class Unavailable(Problem):
    """It does not work now and may work later."""

    status, slug, title = HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The service cannot do this just now"
    retry_after_s: ClassVar[int] = 2

    def __init__(self, detail: str) -> None:
        """Say what is missing; Retry-After is added."""
        super().__init__(detail, headers={"Retry-After": str(self.retry_after_s)})


class NoModels(Unavailable):
    """No worker has ever registered a model, so there is nothing to ask for."""

    slug, title = "no-models", "No model is ready yet"


class QueueFull(Unavailable):
    """As many jobs wait as the settings allow."""

    slug, title, retry_after_s = "queue-full", "The queue is full", 30


def documented(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with these problems, each with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for each in problems:
        status = int(each.status)
        examples = responses[status]["content"][MEDIA_TYPE]["examples"] if status in responses else {}
        schema = {"$ref": "#/components/schemas/ProblemBody"}
        content = {MEDIA_TYPE: {"schema": schema, "examples": examples | {each.slug: _example(each)}}}
        responses[status] = {"description": each.title, "content": content}
        if headers := _HEADERS.get(each.status):
            responses[status]["headers"] = {headers: {"schema": {"type": "string"}}}
    return responses


def kinds(root: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Every kind of problem there is."""
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


def _example(kind: type[Problem]) -> dict[str, str]:
    return {"$ref": f"#/components/examples/{kind.slug}"}


_HEADERS = {
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
    HTTPStatus.TOO_MANY_REQUESTS: "Retry-After",
    HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
}
