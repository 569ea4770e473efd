"""The API's reference as a page: the OpenAPI document, to read and to try out."""

from fastapi import APIRouter, Request, Response

from app.routes.rendering import render

router = APIRouter(include_in_schema=False)


@router.api_route("/docs", methods=["GET", "HEAD"])
def reference(request: Request) -> Response:
    """The reference.  Its scripts and styles come from here, so it works without a network."""
    return render(request, "reference.html")
