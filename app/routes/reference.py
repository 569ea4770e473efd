"""The API's description: the OpenAPI document, and a page of it to read and to try out."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.routes.rendering import render

router = APIRouter(include_in_schema=False)

document_router = APIRouter(include_in_schema=False)
"""What whoever has no key yet may read too."""


@document_router.api_route("/openapi.json", methods=["GET", "HEAD"])
def document(request: Request) -> Response:
    """The document.  To write it takes a while, the first time: no coroutine does it, which others would wait for."""
    return JSONResponse(request.app.openapi())


@router.api_route("/docs", methods=["GET", "HEAD"])
def reference(request: Request) -> Response:
    """The reference.  Its scripts and styles come from here, so it works without a network."""
    return render(request, "reference.html")
