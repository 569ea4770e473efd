"""Whoever sends or takes too slowly is cut off, and holds up nobody else meanwhile."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI

from app import connections

HALF_OPEN = 300
GOOD_WITHIN_S = 0.1

# More than the kernel keeps for a client that takes nothing.
MANY_BYTES = 32 << 20

BEGUN = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def connect(url: str) -> Iterator[Callable[[bytes], socket.socket]]:
    """Opens a connection to a really running API and sends something."""
    place = urlsplit(url)
    with ExitStack() as stack:

        def to(sent: bytes) -> socket.socket:
            client = stack.enter_context(socket.create_connection((str(place.hostname), int(place.port or 0)), 10))
            client.sendall(sent)
            return client

        yield to


def is_cut_off(client: socket.socket, within_s: float) -> bool:
    """Whether the server ends the connection in time, whatever it says before."""
    client.settimeout(within_s)
    try:
        with suppress(ConnectionResetError):
            while client.recv(65_536):
                pass
    except TimeoutError:
        return False
    return True


def lasts_s(client: socket.socket) -> float:
    """How long the connection takes one byte after the other; no longer than 5 s."""
    began = time.monotonic()
    with suppress(OSError):
        while time.monotonic() < began + 5:
            client.sendall(b"x")
            time.sleep(0.02)
    return time.monotonic() - began


def test_very_many_requests_that_are_never_finished_hold_up_nobody_and_are_cut_off(
    url: str, connect: Callable[[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 3.0)
    slow = [connect(BEGUN) for _ in range(HALF_OPEN)]
    took: list[float] = []
    with httpx2.Client(base_url=url) as client:
        for _ in range(10):
            began = time.perf_counter()
            assert client.get("/version").status_code == 200
            took.append(time.perf_counter() - began)
    assert min(took) < GOOD_WITHIN_S
    assert all(is_cut_off(each, 10) for each in slow)


@pytest.mark.parametrize("sent", [b"", BEGUN, WHOLE + BEGUN], ids=["nothing", "a part", "a second request's part"])
def test_a_request_that_does_not_come_is_not_waited_for(
    connect: Callable[[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    assert is_cut_off(connect(sent), 4)


def test_headers_that_drip_are_cut_off_too(
    connect: Callable[[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    client = connect(BEGUN)
    assert lasts_s(client) < 4


def test_a_body_that_drips_after_its_answer_is_not_read_for_ever(
    connect: Callable[[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    client = connect(b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n")
    assert lasts_s(client) < 4


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * connections.MAX_HEAD_BYTES,
    ],
    ids=["no HTTP", "a path of no characters", "headers without end"],
)
def test_what_is_not_http_is_a_problem_like_any_other(connect: Callable[[bytes], socket.socket], sent: bytes) -> None:
    client = connect(sent)
    answer = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65_536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == "urn:darkroom:problem:bad-request"


def test_a_client_that_takes_nothing_is_given_up(
    app: FastAPI, connect: Callable[[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKE_S", 0.3)

    @app.get("/large")
    def large() -> str:
        return "x" * MANY_BYTES

    client = connect(WHOLE.replace(b"/healthz", b"/large"))
    client.settimeout(10)
    time.sleep(1.5)
    taken = 0
    with suppress(ConnectionResetError):
        while part := client.recv(1 << 20):
            taken += len(part)
    assert taken < MANY_BYTES


def test_a_connection_that_is_used_again_and_again_stays(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    with httpx2.Client(base_url=url, limits=httpx2.Limits(max_connections=1)) as client:
        began = time.monotonic()
        while time.monotonic() < began + 1.2:
            assert client.get("/version").status_code == 200
            time.sleep(0.1)
