"""A small client of Darkroom, to copy: one file, no dependencies, Python 3.11.

    python client.py "a fox in the snow" fox.png
    DARKROOM_KEY=dk_... python client.py --at https://pictures.example "a fox in the snow" fox.png

It sends nothing twice that must not happen twice, comes again when it is told when to, and waits without asking
all the time.
"""

import argparse
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.error import HTTPError
from urllib.request import Request, urlopen

AT = "http://127.0.0.1:7860"
PATIENCE_S = 120.0
LOST_S = 1.0

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Content = Literal["image/png", "image/jpeg", "image/webp"]


class ImageOut(TypedDict):
    """A picture that a job has made."""

    id: str
    seed: int
    width: int
    height: int
    sha256: str
    url: str


class Failure(TypedDict):
    """Why a job has failed."""

    code: str
    message: str


class Job(TypedDict):
    """What this client looks at in a job; docs/openapi.json has all of it."""

    id: str
    state: State
    images: list[ImageOut]
    error: Failure | None


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: `state`, `progress`, `done` or `shutdown`."""

    name: str
    data: dict[str, Any]


class Problem(Exception):
    """An answer that is an error, as RFC 9457 writes it."""

    def __init__(self, body: Mapping[str, Any], status: int, retry_after_s: float | None) -> None:
        """Say what the service said."""
        super().__init__(f"{status} {body.get('title', '')}: {body.get('detail', '')}")
        self.type: str = body.get("type", "about:blank")
        self.status = status
        self.errors: list[dict[str, str]] = body.get("errors", [])
        self.retry_after_s = retry_after_s


class JobFailed(Exception):
    """A job that ended without pictures."""


class Darkroom:
    """A service, and the key to it if it wants one."""

    def __init__(self, at: str = AT, key: str | None = None) -> None:
        """Speak to the service at that URL."""
        self._at = at.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def submit(self, task: str, **wish: Any) -> Job:
        """Queue a job; sent again after a lost answer, it is still one job.  Raises: Problem."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"task": task, **{name: value for name, value in wish.items() if value is not None}}
        job: Job = self._json("POST", "/api/v1/jobs", json.dumps(body).encode(), "application/json", key)
        return job

    def upload(self, data: bytes, kind: Content = "image/png") -> str:
        """Keep a picture for a day; the answer is how a wish names it.  Raises: Problem."""
        return f"upload:{self._json('POST', '/api/v1/uploads', data, kind)['id']}"

    def wait(self, job: Job) -> Job:
        """The job once it has ended.  Raises: Problem."""
        while job["state"] in ("queued", "running"):
            job = self._json("GET", f"/api/v1/jobs/{job['id']}?wait=60&until=done")
        return job

    def watch(self, job: Job) -> Iterator[Event]:
        """What happens to the job, as it happens, with previews.  Raises: Problem."""
        request = Request(f"{self._at}/api/v1/jobs/{job['id']}/events", headers=self._headers)
        with urlopen(request, timeout=PATIENCE_S) as stream:
            fields: dict[str, str] = {}
            for line in stream:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "event" in fields:
                    yield Event(fields["event"], json.loads(fields["data"]))
                    fields = {}

    def cancel(self, job: Job) -> Job:
        """End the job: no picture of it appears any more.  Raises: Problem, 409 if it has ended before."""
        cancelled: Job = self._json("POST", f"/api/v1/jobs/{job['id']}/cancel", b"")
        return cancelled

    def develop(self, task: str, **wish: Any) -> list[bytes]:
        """The files of a new job, once they are there.  Raises: Problem; JobFailed."""
        job = self.wait(self.submit(task, **wish))
        if job["state"] != "succeeded":
            raise JobFailed(job["error"]["message"] if job["error"] else job["state"])
        return [self.content(image) for image in job["images"]]

    def content(self, image: ImageOut) -> bytes:
        """A picture's file.  Raises: Problem."""
        return self._ask("GET", image["url"])

    def _json(self, method: str, path: str, body: bytes | None = None, kind: str = "", more: Any = None) -> Any:
        return json.loads(self._ask(method, path, body, kind, more))

    def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", more: Mapping[str, str] | None = None
    ) -> bytes:
        headers = {**self._headers, **({"Content-Type": kind} if kind else {}), **(more or {})}
        deadline = time.monotonic() + PATIENCE_S
        may_ask_again = method == "GET" or "Idempotency-Key" in headers
        while True:
            try:
                with urlopen(Request(self._at + path, body, headers, method=method), timeout=PATIENCE_S) as answer:
                    content: bytes = answer.read()
                    return content
            except HTTPError as error:
                problem = _problem_of(error)
                # Of errors, only what says when to come again is worth another try.
                wait_s = problem.retry_after_s
                if wait_s is None or time.monotonic() + wait_s > deadline:
                    raise problem from None
            except OSError:
                wait_s = LOST_S
                if not may_ask_again or time.monotonic() + wait_s > deadline:
                    raise
            time.sleep(wait_s)


def _problem_of(error: HTTPError) -> Problem:
    wait = error.headers.get("Retry-After")
    try:
        body = json.loads(error.read())
    except ValueError:
        body = {}
    return Problem(body, error.code, float(wait) if wait else None)


def main() -> None:
    """Develop one picture from words, and say how far it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("prompt")
    parser.add_argument("file", type=Path)
    parser.add_argument("--at", default=AT, help="the service's URL")
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    darkroom = Darkroom(given.at, os.environ.get("DARKROOM_KEY"))
    job = darkroom.submit("text_to_image", prompt=given.prompt, steps=given.steps)
    for event in darkroom.watch(job):
        if event.name == "progress":
            print(f"\rstep {event.data['step']} of {event.data['steps']}", end="", flush=True)
    job = darkroom.wait(job)
    print()
    if job["state"] != "succeeded":
        raise SystemExit(job["error"]["message"] if job["error"] else f"The job has {job['state']}.")
    given.file.write_bytes(darkroom.content(job["images"][0]))
    print(f"{given.file}, seed {job['images'][0]['seed']}")


if __name__ == "__main__":
    main()
