"""Keyset pages: a cursor names the last row seen, so that new rows shift nothing."""

from typing import Annotated

from fastapi import Query, Request, Response

Limit = Annotated[int, Query(ge=1, le=100, description="how many at most")]
Cursor = Annotated[str | None, Query(max_length=200, description="next_cursor of the page before")]


def link_next(request: Request, response: Response, cursor: str | None) -> None:
    """Say where the following page is, as RFC 8288 does; nothing on the last page."""
    if cursor is not None:
        url = request.url.include_query_params(cursor=cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
