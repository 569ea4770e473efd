"""A process that dies at any commit, rename or ring loses nothing and publishes nothing twice."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LANES = ("1/2", "2/2")

TRANSITIONS = {"submit", "cancel", "claim_next", "beat", "finish", "give_back", "sweep"}
FILES = {"rename png.tmp", "rename thumb256.webp.tmp", "fsync folder", "remove png", "remove png.tmp"}


@pytest.mark.slow
def test_nothing_is_lost_wherever_a_process_dies() -> None:
    commands = [[sys.executable, "-m", "tests.chaos.crash_points", "--lane", lane] for lane in LANES]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for command in commands]
    said = "".join(each.communicate(timeout=280)[0] for each in running)
    assert [each.returncode for each in running] == [0, 0], said
    tried = {line.split(": ", 1)[1].rsplit(" (", 1)[0] for line in said.splitlines() if line.startswith("ok ")}
    # The points are found, not listed: these are the least that must be among them.
    for transition in TRANSITIONS:
        for moment in ("before", "after", "refused", "unanswered"):
            assert f"{moment} commit {transition}" in tried
    for action in FILES | {"ring"}:
        assert {f"before {action}", f"after {action}"} <= tried
    assert len(re.findall(r"^ok ", said, re.MULTILINE)) >= 60
