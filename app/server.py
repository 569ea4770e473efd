"""The front door as a process: the app in a web server, on an address or on a socket that listens already."""

import socket

import uvicorn

from app.connections import Connection
from app.jobs.logs import configure_logging
from app.jobs.settings import Settings
from app.main import create_app

DEFAULT_PORT = 7860
# What a request that is still running when the end is asked for may take.
LAST_REQUESTS_S = 5


def serve(settings: Settings, listener_fd: int | None = None, *, open_to_strangers: bool = False) -> None:
    """Serve until a signal ends it.  `listener_fd` is a listening socket that `darkroom up` has opened."""
    configure_logging(settings.log_level)
    config = uvicorn.Config(
        create_app(settings, open_to_strangers=open_to_strangers),
        http=Connection,
        ws="none",
        host=settings.host,
        port=settings.port or DEFAULT_PORT,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_REQUESTS_S,
    )
    sockets = None if listener_fd is None else [socket.socket(fileno=listener_fd)]
    uvicorn.Server(config).run(sockets)
