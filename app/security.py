"""The guards every request passes before any route sees it, and the headers every response leaves with.

While there are no keys, the service is open to everyone at this machine, so what must be kept out is other web
pages: one of them can make a browser send requests here (Origin, Sec-Fetch-Site), or give its own name this address
(Host).  Who needs a key, and whose it is, the dependencies of the routes decide.  What a page of ours may do is
bounded by the Content-Security-Policy.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import CrossSite, Problem, TooLarge, TooSlow, Unavailable, WrongHost

log = structlog.get_logger()

Answer = Callable[[Request, Exception], Response]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
NO_PATHS: Final[Mapping[str, int]] = {}
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

# A prompt of 2000 characters, every one escaped, is 24 kB.
MAX_BODY_BYTES: Final = 1 << 20
MAX_BODY_S: Final = 30.0

# A picture over a slow line; and what all bodies that are under way may take together.
MAX_LARGE_BODY_S: Final = 120.0
MAX_BODIES_BYTES: Final = 256 << 20

HEADERS: Final = {
    # Previews are data: URIs; nothing else comes from anywhere but here, and nothing inline runs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # With no-referrer a browser would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Door:
    """The outermost guard: names each request, refuses strangers, bounds bodies, lets no error out bare."""

    def __init__(
        self,
        app: ASGIApp,
        answer: Answer,
        hosts: Iterable[str] | None = (),
        large_bodies: Mapping[str, int] = NO_PATHS,
    ) -> None:
        """Guard `app`, which goes by loopback names and by `hosts`; `answer` makes errors into responses.

        Without `hosts` (None) it goes by any name; then nobody must be let in without a key.
        `large_bodies` are the paths that take more than other bodies may have, and how many bytes.
        """
        self._app = app
        self._answer = answer
        self._hosts = None if hosts is None else LOOPBACK | {host.lower() for host in hosts}
        self._large_bodies = large_bodies
        self._under_way = _UnderWay()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope.setdefault("state", {})["request_id"] = uuid.uuid4().hex
        reply = _Reply(send, request_id)
        body = _Body(receive, self._large_bodies.get(scope["path"]), self._under_way)
        try:
            headers = Headers(scope=scope)
            if self._hosts is not None:
                check_host(headers, self._hosts)
            check_origin(scope["method"], headers)
            body.check_declared(headers)
            await self._app(scope, body.receive, reply.send)
        except Exception as error:
            if reply.started:
                raise
            response = self._answer(Request(scope), error)
            await response(scope, receive, reply.send)
        finally:
            body.forget()


def check_host(headers: Headers, hosts: frozenset[str]) -> None:
    """Refuse a request for a name that is not ours.  Raises: WrongHost."""
    host = headers.get("host", "").lower()
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    if name not in hosts:
        raise WrongHost(f"The Host header must be one of {', '.join(sorted(hosts))}.")


def check_origin(method: str, headers: Headers) -> None:
    """Refuse to change anything for a page of another site.  Clients that are no browser send neither header.

    Raises: CrossSite.
    """
    if method in SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site", "same-origin")
    origin = headers.get("origin")
    is_ours = origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    if site not in ("same-origin", "none") or not is_ours:
        raise CrossSite("Only pages of this service, and clients that are no browser, may change anything here.")


class _Reply:
    """Sends a response with our headers, and knows whether it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


class _UnderWay:
    """The bytes of all bodies that have come in and are not answered yet."""

    def __init__(self) -> None:
        self.size_bytes = 0


class _Body:
    """Receives a request's body, and gives up on one that is too large or too slow, or comes in a crowd."""

    def __init__(self, receive: Receive, large_bytes: int | None, under_way: _UnderWay) -> None:
        self._receive = receive
        self._max_bytes = MAX_BODY_BYTES if large_bytes is None else large_bytes
        self._max_s = MAX_BODY_S if large_bytes is None else MAX_LARGE_BODY_S
        self._under_way = under_way
        self._size_bytes = 0
        self._is_complete = False
        self._deadline: float | None = None

    def check_declared(self, headers: Headers) -> None:
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        if self._is_complete:
            # Only a disconnect can follow, and that may take as long as it likes.
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._max_s
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(f"A body must arrive within {self._max_s:g} seconds.") from None
        arrived = len(message.get("body", b""))
        self._size_bytes += arrived
        self._under_way.size_bytes += arrived
        self._is_complete = not message.get("more_body", False)
        if self._size_bytes > self._max_bytes:
            raise self._too_large()
        if self._under_way.size_bytes > MAX_BODIES_BYTES:
            raise Unavailable("Too many large requests came at once.")
        return message

    def forget(self) -> None:
        self._under_way.size_bytes -= self._size_bytes

    def _too_large(self) -> Problem:
        return TooLarge(f"A body may have at most {self._max_bytes} bytes here.")
