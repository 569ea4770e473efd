"""What must be true of the service, whatever happened to it; judged by the public API and the files alone.

- Every job that was accepted is there, and has ended: once, and it stays as it ended.
- A job that succeeded has each of its pictures once: the right pixels, with the sha256 that the API tells.
- No other job has a picture; none that was cancelled, ever.
- No file lies in the storage that is not published.
- A job failed only for a reason that its wish gives, or because its worker was lost three times.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EXPECTED_ENDS = {"bug": "internal", "nan": "nan", "oom": "out_of_memory"}
"""What a prompt with this word ends as; see the fake pipeline."""

TERMINAL = {"succeeded", "failed", "cancelled"}

_FILE = re.compile(r"(?P<attempt>[0-9]+)-(?P<index>[0-9]+)\.(?P<kind>png|thumb256\.webp)")


@dataclass
class Evidence:
    """What was seen from outside."""

    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The wish of every job that was answered with 202, by the job's id."""
    cancel_asked: set[str] = field(default_factory=set)
    """The jobs whose cancel was sent; whether it arrived is another matter."""
    cancelled: set[str] = field(default_factory=set)
    """The jobs whose cancel was answered with 200."""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Every job as the API tells it in the end."""
    images: list[dict[str, Any]] = field(default_factory=list)
    """Every picture that the API lists in the end."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """The file of each of them, as downloaded."""


def pixels_of(seed: int, width: int, height: int) -> np.ndarray:
    """The picture that the fake pipeline makes of a seed: it depends on nothing else."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def violations(evidence: Evidence, files: Path) -> list[str]:
    """Everything that is not as it must be, in one sentence each."""
    found = [f"job {job_id} was accepted and is gone" for job_id in evidence.accepted.keys() - evidence.jobs.keys()]
    for job_id, job in evidence.jobs.items():
        found += [f"job {job_id} {fault}" for fault in _faults(evidence, job)]
    return [*found, *_faults_of_pictures(evidence), *_faults_of_files(evidence, files)]


def worker_lost(evidence: Evidence) -> list[str]:
    """The jobs that were given up because their worker was lost each time; they are counted apart."""
    return [job["id"] for job in evidence.jobs.values() if (job["error"] or {}).get("code") == "worker_lost"]


def leftovers(evidence: Evidence, files: Path) -> list[str]:
    """The files of the storage that belong to no job that has succeeded."""
    succeeded = {job["id"] for job in evidence.jobs.values() if job["state"] == "succeeded"}
    return [str(path) for path in _all_files(files) if path.parent.name not in succeeded or path.suffix == ".tmp"]


def _faults(evidence: Evidence, job: Mapping[str, Any]) -> Iterable[str]:
    state, images, error = job["state"], job["images"], job["error"]
    if state not in TERMINAL:
        yield f"never ended: it is {state}"
    if (state == "succeeded") != bool(images):
        yield f"is {state} with {len(images)} pictures"
    if job["id"] in evidence.cancelled and state != "cancelled":
        yield f"is {state}, though its cancel was acknowledged"
    if state == "cancelled" and job["id"] not in evidence.cancel_asked:
        yield "is cancelled, though nobody asked for that"
    if state == "succeeded":
        expected = [(index, (job["params"]["seed"] + index) % 2**32) for index in range(job["params"]["num_images"])]
        if [(image["index"], image["seed"]) for image in images] != expected:
            yield f"has the pictures {[(image['index'], image['seed']) for image in images]}, not {expected}"
    if (state == "failed") != (error is not None):
        yield f"is {state} with the error {error}"
    if error is not None and error["code"] != "worker_lost":
        allowed = [code for word, code in EXPECTED_ENDS.items() if word in job["params"]["prompt"]]
        if error["code"] not in allowed:
            yield f"failed as {error['code']}, which its wish does not explain"


def _faults_of_pictures(evidence: Evidence) -> Iterable[str]:
    told = [image for job in evidence.jobs.values() for image in job["images"]]
    of_jobs, of_list = Counter(image["id"] for image in told), Counter(image["id"] for image in evidence.images)
    for image_id in of_jobs.keys() | of_list.keys():
        if of_jobs[image_id] != of_list[image_id]:
            yield f"picture {image_id} is told {of_jobs[image_id]} times by jobs, {of_list[image_id]} by the list"
    listed = Counter((image["job_id"], image["index"]) for image in evidence.images)
    for (job_id, index), times in listed.items():
        if times != 1:
            yield f"picture {index} of job {job_id} is published {times} times"
    for image in told:
        data = evidence.contents.get(image["id"], b"")
        if hashlib.sha256(data).hexdigest() != image["sha256"]:
            yield f"picture {image['id']} has other bytes than its sha256 says"
        elif not np.array_equal(_decoded(data), pixels_of(image["seed"], image["width"], image["height"])):
            yield f"picture {image['id']} is not the picture of its seed"


def _faults_of_files(evidence: Evidence, files: Path) -> Iterable[str]:
    yield from (f"file {path} is an orphan" for path in leftovers(evidence, files))
    for job in evidence.jobs.values():
        if job["state"] != "succeeded":
            continue
        found = [_FILE.fullmatch(path.name) for path in _all_files(files / job["id"])]
        names = sorted((match["index"], match["kind"]) for match in found if match)
        expected = [(str(image["index"]), kind) for image in job["images"] for kind in ("png", "thumb256.webp")]
        attempts = {match["attempt"] for match in found if match}
        if names != sorted(expected) or None in found or len(attempts) != 1:
            yield f"job {job['id']} has the files {names} of the attempts {sorted(attempts)}, not those of one"
        on_disk = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (files / job["id"]).glob("*.png"))
        if on_disk != sorted(image["sha256"] for image in job["images"]):
            yield f"job {job['id']} has other files in the storage than the API tells"


def _decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def _all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
