"""HTTP connections with deadlines: whoever sends or reads too slowly is cut off, and holds up nobody else.

uvicorn waits for ever for the rest of a request, and for ever for a client to take what it asked for.  How long the
body of a request may take, the door decides: there it can be answered.
"""

import asyncio
import socket
import uuid
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import MEDIA_TYPE, BadRequest
from app.problems import response_of

# From the first byte, or the answer before, until the request's headers are there.
HEAD_S: Final = 10.0
MAX_HEAD_BYTES: Final = 64 << 10

# A client that takes nothing for so long has gone.
TAKE_S: Final = 60.0

_UNREADABLE = "This is not a request in HTTP/1.1, or its headers are too long."


class Connection(HttpToolsProtocol):
    """One client's connection."""

    _deadline: asyncio.TimerHandle | None = None
    _patience: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _awaits_head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with little time for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        _give_up_on_the_dead(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, with everything that was waited for."""
        self._stop_waiting()
        self._stop_patience()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless what should be headers has no end."""
        super().data_received(data)
        if self._awaits_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The headers are too long.")

    def on_headers_complete(self) -> None:
        """Hand the request over; from here on the door counts the time."""
        self._awaits_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there already."""
        if not self.pipeline:
            self._await_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self._stop_patience()
        self._patience = self.loop.call_later(TAKE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken what there was."""
        self._stop_patience()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not even HTTP, in the shape that every error has."""
        problem = response_of(BadRequest(_UNREADABLE), uuid.uuid4().hex)
        body = bytes(problem.body)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            + f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n".encode()
            + b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
            + body
        )
        self.transport.close()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._awaits_head, self._head_bytes = True, 0
        self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _give_up_on_the_dead(transport: asyncio.BaseTransport) -> None:
    """Let the kernel end a connection whose client takes nothing, also after our last word has been written."""
    client: Any = transport.get_extra_info("socket")
    is_tcp = client is not None and client.family in (socket.AF_INET, socket.AF_INET6)
    if is_tcp and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux alone knows it
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TAKE_S * 1000))
