"""The clients of a chaos run: they ask, cancel and look as anybody may, and write down what they are answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx2

from tests.chaos.oracle import TERMINAL, Evidence

JOBS = "/api/v1/jobs"
ANSWER_WITHIN_S = 15.0
PAUSE_S = 0.1


class Client:
    """Somebody who needs everything done, and asks again when nobody answers."""

    def __init__(self, url: str) -> None:
        """Speak to the API at `url`."""
        self.evidence = Evidence()
        self.answers: Counter[str] = Counter()
        """How often the API answered what; `no answer` when the connection broke."""
        self.faults: list[str] = []
        """Answers that are never right."""
        self._http = httpx2.AsyncClient(base_url=url, timeout=ANSWER_WITHIN_S)
        self._ended: dict[str, str] = {}

    async def submit(self, wish: Mapping[str, Any]) -> str:
        """Ask until it is accepted, always under the same key: a wish whose answer was lost may have arrived."""
        headers = {"Idempotency-Key": uuid4().hex}
        while True:
            response = await self._ask("POST", JOBS, json=dict(wish), headers=headers)
            if response is not None and response.status_code == 202:
                job_id: str = response.json()["id"]
                self.evidence.accepted[job_id] = dict(wish)
                return job_id
            await asyncio.sleep(PAUSE_S)

    async def cancel(self, job_id: str) -> None:
        """Cancel until it is answered."""
        self.evidence.cancel_asked.add(job_id)
        while True:
            response = await self._ask("POST", f"{JOBS}/{job_id}/cancel")
            if response is not None and response.status_code == 200:
                self.evidence.cancelled.add(job_id)
                return
            if response is not None and response.status_code == 409:
                return
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> list[dict[str, Any]]:
        """Every job there is; what has ended once must stay as it ended."""
        jobs = await self._all(JOBS)
        for job in jobs:
            before = self._ended.get(job["id"])
            if before is not None and job["state"] != before:
                self.faults.append(f"job {job['id']} had ended as {before} and is {job['state']} now")
            if job["state"] in TERMINAL:
                self._ended[job["id"]] = job["state"]
        return jobs

    async def until_all_have_ended(self, patience_s: float) -> float:
        """Wait for the end of every job, or until none has ended for so long; returns the seconds that took.

        A busy machine is slow, which is nobody's fault.
        """
        started = last_end = time.monotonic()
        while time.monotonic() - last_end < patience_s:
            ended = len(self._ended)
            jobs = {job["id"]: job for job in await self.look()}
            last_end = last_end if len(self._ended) == ended else time.monotonic()
            is_over = all(job["state"] in TERMINAL for job in jobs.values())
            if is_over and self.evidence.accepted.keys() <= jobs.keys():
                break
            # To look at everything is the API's hardest work.
            await asyncio.sleep(max(0.3, len(jobs) / 500))
        return time.monotonic() - started

    async def gather(self) -> Evidence:
        """Everything as it is now, every picture downloaded."""
        self.evidence.jobs = {job["id"]: job for job in await self.look()}
        self.evidence.images = await self._all("/api/v1/images")
        for image in self.evidence.images:
            response = await self.insist(image["url"])
            self.evidence.contents[image["id"]] = response.content
            if response.headers["ETag"] != f'"{image["sha256"]}"':
                self.faults.append(f"picture {image['id']} has the ETag {response.headers['ETag']}")
        return self.evidence

    async def strays(self) -> list[str]:
        """Jobs that nobody was told of, where the API promises that a wish sent again makes no second one."""
        if "idempotency-key" not in (await self.insist("/openapi.json")).text.lower():
            return []
        strays = self.evidence.jobs.keys() - self.evidence.accepted.keys()
        return [f"job {job_id} was made of a wish that had made one already" for job_id in strays]

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def _all(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await self.insist(path, limit="100", **cursor)).json()
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}

    async def insist(self, path: str, **parameters: str) -> httpx2.Response:
        """GET it until it is there."""
        while True:
            response = await self._ask("GET", path, params=parameters)
            if response is not None and response.status_code == 200:
                return response
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """The answer, if there is one; what is neither a success nor a known way to say no is a fault."""
        try:
            response = await self._http.request(method, path, **more)
        except httpx2.HTTPError:
            self.answers["no answer"] += 1
            return None
        status = response.status_code
        self.answers[str(status)] += 1
        is_polite = status != 503 or int(response.headers.get("Retry-After", "0")) > 0
        if status not in (200, 202, 409, 503) or not is_polite:
            self.faults.append(f"{method} {path} was answered with {status}: {response.text[:200]}")
        return response
