"""Signing in on the pages: a key is shown once, and the browser keeps a session that no script can read."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from app.deps import SESSION_COOKIE, Inside, Session, form_only
from app.routes.rendering import render

router = APIRouter(include_in_schema=False)

PATH = "/sign-in"

# A path of ours: what a browser might read as another host's address is none.
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,2000}")

Key = Annotated[str, Form(max_length=200)]
Next = Annotated[str, Form(max_length=2001)]


@router.api_route(PATH, methods=["GET", "HEAD"])
def ask(request: Request) -> Response:
    """The field for a key."""
    return render(request, "sign_in.html", next="/", is_wrong=False)


@router.post(PATH, dependencies=[Depends(form_only)])
def sign_in(request: Request, house: Inside, session: Session, key: Key = "", next: Next = "/") -> Response:
    """Begin a session and go where the visitor wanted to; or ask again."""
    following = next if _OWN_PATH.fullmatch(next) else "/"
    begun = house.store.keys.sign_in(key.strip())
    if begun is None:
        return render(request, "sign_in.html", status=401, next=following, is_wrong=True)
    if session is not None:
        house.store.keys.sign_out(session)
    response = RedirectResponse(following, status_code=303)
    response.set_cookie(
        SESSION_COOKIE,
        begun.token,
        max_age=int(begun.lasts_s),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out")
def sign_out(house: Inside, session: Session) -> Response:
    """End the session, here and in the browser."""
    if session is not None:
        house.store.keys.sign_out(session)
    response = RedirectResponse(PATH, status_code=303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax")
    return response
