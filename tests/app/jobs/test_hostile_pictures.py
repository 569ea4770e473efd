"""Three hundred hostile files: each is refused or a correct picture, within little time and memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.app.jobs.hostile import EITHER

ROOT = Path(__file__).parents[3]

MAX_S = 2.0
MAX_BYTES = 200 << 20

# libwebp's reader keeps two whole pictures, and gives a third one that becomes the fourth: 64 MB each.
MOST_FOR = {"bombs: the largest in WebP": 290 << 20}


@pytest.fixture(scope="module")
def fates() -> list[dict[str, Any]]:
    """What became of every file, in a process of its own, so that its memory is its own too."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells how much memory was needed")
    command = [sys.executable, "-m", "tests.app.jobs.hostile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_is_refused_or_the_picture_it_is(fates: list[dict[str, Any]]) -> None:
    assert len(fates) >= 300
    assert [each for each in fates if each["fate"] not in (EITHER, each["became"])] == []


def test_none_takes_much_memory(fates: list[dict[str, Any]]) -> None:
    assert [each for each in fates if each["rose_bytes"] > MOST_FOR.get(each["name"], MAX_BYTES)] == []


def test_none_takes_long(fates: list[dict[str, Any]]) -> None:
    assert [each for each in fates if each["took_s"] > MAX_S] == []
