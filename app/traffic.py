"""What this process has answered: counted by route, so that no path of anybody's makes a series of its own."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Traffic:
    """The requests of one process since it began."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "darkroom_http_requests",
            "Requests that this process has answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "darkroom_http_request_seconds",
            "From a request until its answer begins; an event stream may go on for long after that.",
            ["method", "route"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def count(self, scope: Scope, status: int, took_s: float) -> None:
        """Count one answer."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = route_of(scope)
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(took_s)


def route_of(scope: Scope) -> str:
    """The template of the route that answered, as it was declared; `other` where none did."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "/static" if scope["path"].startswith("/static/") else "other"


class Counted:
    """Counts every answer, whoever gave it."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        """Count the answers of `app` in `traffic`."""
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._traffic.count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counting)
