"""The short storm, and an oracle and a plan that deserve to be believed."""

import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.chaos.mutants import MUTANTS
from tests.chaos.oracle import Evidence, pixels_of, violations
from tests.chaos.plan import draw

ROOT = Path(__file__).parents[2]
JOBS, SEED = 60, 1


@pytest.mark.slow
def test_nothing_is_lost_in_a_storm() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--jobs", str(JOBS), "--seed", str(SEED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    report = dict(re.findall(r"^  (\w[\w ]*): (.*)$", done.stdout, re.MULTILINE))
    assert report["accepted"] == str(JOBS)
    # The storm did take place.
    for hit in ("'worker-0'", "'worker-1'", "'valkey': 3", "'api': 1"):
        assert hit in report["killed"]
    assert re.findall(r"s  (flush|fill|freeze) ", done.stdout).count("freeze") == 2
    assert {"flush valkey", "fill disk"} <= set(re.findall(r"s  (\w+ \w+)", done.stdout))


def test_every_guard_on_the_list_of_those_to_remove_is_still_there() -> None:
    for mutant in MUTANTS:
        assert (ROOT / mutant.file).read_text().count(mutant.text) == 1, mutant.guard


def test_the_same_seed_draws_the_same_storm() -> None:
    assert draw(7, 500) == draw(7, 500)
    assert draw(7, 500) != draw(8, 500)
    plan = draw(7, 500)
    assert [(act.what, act.whom) for act in plan.faults].count(("kill", "valkey")) == 3
    assert {act.what for act in plan.faults} == {"kill", "freeze", "flush", "fill"}
    assert plan.scale.dropped_rings == 0.15


# The oracle


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels_of(seed, 64, 64)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def seen(tmp_path: Path) -> Evidence:
    """A succeeded job `a`, a cancelled job `b`, and nothing wrong with either."""
    image = {"id": "i", "job_id": "a", "index": 0, "seed": 7, "width": 64, "height": 64}
    image["sha256"] = hashlib.sha256(picture(7)).hexdigest()
    params = {"seed": 7, "num_images": 1, "prompt": "a red cat"}
    done = {"id": "a", "state": "succeeded", "images": [image], "error": None, "params": params}
    gone = {"id": "b", "state": "cancelled", "images": [], "error": None, "params": params}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1-0.png").write_bytes(picture(7))
    (tmp_path / "a" / "1-0.thumb256.webp").write_bytes(b"small")
    return Evidence(
        accepted={"a": {}, "b": {}},
        cancel_asked={"b"},
        cancelled={"b"},
        jobs={"a": done, "b": gone},
        images=[image],
        contents={"i": picture(7)},
    )


def test_the_oracle_has_nothing_against_a_service_that_is_right(seen: Evidence, tmp_path: Path) -> None:
    assert violations(seen, tmp_path) == []


WRONGS: dict[str, Callable[[Evidence, Path], Any]] = {
    "is gone": lambda seen, files: seen.jobs.pop("b"),
    "never ended": lambda seen, files: seen.jobs["b"].update(state="running"),
    "though its cancel was acknowledged": lambda seen, files: seen.cancelled.add("a"),
    "though nobody asked for that": lambda seen, files: seen.cancel_asked.clear(),
    "is succeeded with 0 pictures": lambda seen, files: seen.jobs["a"].update(images=[]),
    "is cancelled with 1 pictures": lambda seen, files: seen.jobs["b"].update(images=seen.images),
    "has the pictures": lambda seen, files: seen.jobs["a"]["params"].update(num_images=2),
    "with the error None": lambda seen, files: seen.jobs["b"].update(state="failed"),
    "which its wish does not explain": lambda seen, files: seen.jobs["b"].update(
        state="failed", error={"code": "internal"}
    ),
    "published 2 times": lambda seen, files: seen.images.append(seen.images[0] | {"id": "j"}),
    "by the list": lambda seen, files: seen.images.clear(),
    "other bytes": lambda seen, files: seen.contents.update(i=picture(8)),
    "is not the picture of its seed": lambda seen, files: seen.jobs["a"]["images"][0].update(seed=8),
    "is an orphan": lambda seen, files: (files / "a" / "1-0.png.tmp").write_bytes(b"half"),
    "not those of one": lambda seen, files: (files / "a" / "2-0.png").write_bytes(picture(7)),
    "other files in the storage": lambda seen, files: (files / "a" / "1-0.png").write_bytes(b"half"),
}


@pytest.mark.parametrize("complaint", WRONGS)
def test_the_oracle_sees_what_is_wrong(seen: Evidence, tmp_path: Path, complaint: str) -> None:
    WRONGS[complaint](seen, tmp_path)
    assert any(complaint in violation for violation in violations(seen, tmp_path))
