"""Each guard of the protocol removed once: a test must turn red, or the guard is not guarded.

    python -m tests.chaos.mutants [WORD...]

Works on a copy of the project; a guard whose text is not found any more is an error, so that this list stays true.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORE = "app/jobs/store"
TESTS = "tests/app/jobs"


@dataclass(frozen=True)
class Mutant:
    """One guard, and the project without it."""

    guard: str
    file: str
    text: str
    instead: str
    tests: Sequence[str]


MUTANTS = (
    Mutant(
        "the fencing WHERE",
        f"{STORE}/rows.py",
        "        jobs.c.attempt == claim.attempt,\n        jobs.c.state == State.RUNNING,\n",
        "",
        [f"{TESTS}/store/test_finishing.py", "tests/worker/test_consumer.py"],
    ),
    Mutant(
        "the attempt in the fencing WHERE",
        f"{STORE}/rows.py",
        "        jobs.c.attempt == claim.attempt,\n",
        "",
        [f"{TESTS}/store/test_finishing.py", "tests/worker/test_consumer.py"],
    ),
    Mutant(
        "the rename",
        "app/jobs/storage/local.py",
        'unfinished = path.with_name(f"{path.name}.{token_hex(4)}{UNFINISHED}")',
        "unfinished = path",
        [f"{TESTS}/storage"],
    ),
    Mutant(
        "the sweep of lost leases",
        f"{STORE}/sweeping.py",
        "requeued = sweep_up(and_(run_out, not_(is_spent)), queued_again() | counted)",
        "requeued = ()",
        [f"{TESTS}/store/test_sweeping.py", "tests/worker/test_process.py"],
    ),
    Mutant(
        "the bound of attempts",
        f"{STORE}/sweeping.py",
        "is_spent = jobs.c.attempt - jobs.c.infra_failures >= settings.max_attempts",
        "is_spent = jobs.c.attempt >= settings.max_attempts",
        [f"{TESTS}/store/test_sweeping.py"],
    ),
    Mutant(
        "the sweep of files",
        f"{STORE}/sweeping.py",
        "return attempt < newest_attempt or (state.is_terminal and key not in published)",
        "return False",
        [f"{TESTS}/test_orphans.py", "tests/worker/test_consumer.py"],
    ),
    Mutant(
        "what the sweep of files spares",
        f"{STORE}/sweeping.py",
        "return attempt < newest_attempt or (state.is_terminal and key not in published)",
        "return True",
        [f"{TESTS}/test_orphans.py"],
    ),
    Mutant(
        "the cancel guard of finish",
        f"{STORE}/finishing.py",
        "wanted = and_(held(claim), not_(jobs.c.cancel_requested))",
        "wanted = held(claim)",
        [f"{TESTS}/store/test_finishing.py", "tests/worker/test_consumer.py"],
    ),
    Mutant(
        "the cancel guard of give back",
        f"{STORE}/claiming.py",
        "wanted = and_(held(claim), not_(jobs.c.cancel_requested))",
        "wanted = held(claim)",
        [f"{TESTS}/store/test_claiming.py"],
    ),
    Mutant(
        "the read-back of a lost commit",
        f"{STORE}/store.py",
        "                if finishing.is_still_held(connection, claim):\n                    raise\n",
        "                raise\n",
        [f"{TESTS}/store/test_finishing.py"],
    ),
    Mutant(
        "what the read-back asks for",
        f"{STORE}/finishing.py",
        "    return connection.execute(select(jobs.c.id).where(ended_so)).first() is not None",
        "    return True",
        [f"{TESTS}/store/test_finishing.py"],
    ),
    Mutant(
        "that a job which was lost twice goes to nobody who is busy",
        f"{STORE}/fairness.py",
        "others = [] if room.alone else [not_(jobs.c.solo)]",
        "others = []",
        [f"{TESTS}/store/test_claiming.py", "tests/worker/test_faults.py", "-k", "lost_twice"],
    ),
    Mutant(
        "that a job of two models goes to a worker that has both",
        f"{STORE}/fairness.py",
        "    others.append(or_(jobs.c.second_model.is_(None), jobs.c.second_model.in_(room.served)))\n",
        "",
        [f"{TESTS}/store/test_matching.py"],
    ),
    Mutant(
        "that an image is verified where it was made",
        f"{STORE}/fairness.py",
        "    others.append(or_(jobs.c.fingerprint.is_(None), jobs.c.fingerprint == room.fingerprint))\n",
        "",
        [f"{TESTS}/store/test_inquiries.py"],
    ),
    Mutant(
        "that reproducible rows share no computation",
        "models/pipeline.py",
        "parts = [[row] for row in rows] if rows[0].reproducible else [rows]",
        "parts = [rows]",
        ["tests/worker/test_reproducible.py", "-k", "two_rows"],
    ),
    Mutant(
        "that reproducible rows share no step",
        "worker/engine/turns.py",
        "if first.steps_alone:",
        "if False:",
        ["tests/worker/test_reproducible.py", "-k", "share_no_step"],
    ),
    Mutant(
        "the two rows of a reproducible step",
        "models/pipeline.py",
        "guided = list(range(len(rows))) if rows[0].reproducible else guided_rows(scales)",
        "guided = guided_rows(scales)",
        ["tests/worker/test_reproducible.py", "-k", "two_rows"],
    ),
    Mutant(
        "that nothing is taken beside a job which was lost twice",
        "worker/crew.py",
        "if any(lease.claim.solo for lease in leases):",
        "if False:",
        ["tests/worker/test_faults.py", "-k", "lost_twice"],
    ),
    Mutant(
        "that a finish is tried again",
        "worker/publishing.py",
        "                if self._publisher.is_stopping.wait(STORE_RETRY_S):\n                    raise\n",
        "                raise\n",
        ["tests/worker/test_publishing.py"],
    ),
    Mutant(
        "that a storage is asked again",
        "worker/publishing.py",
        "                if self.is_stopping.wait(pause_s):\n                    raise\n",
        "                raise\n",
        ["tests/worker/test_faults.py", "-k", "storage"],
    ),
    Mutant(
        "that a stopping worker gives back again",
        "worker/consumer.py",
        "while not self._crew.give_back() and self._stop_requests < 2 and time.monotonic() < deadline:\n"
        "            self._wait(RETRY_S)",
        "self._crew.give_back()",
        ["tests/worker/test_faults.py", "-k", "gives_back_again"],
    ),
    Mutant(
        "the longer patience with Redis while a ring is waited for",
        "worker/consumer.py",
        "timeout_s=self.dequeue_timeout + 1, retries=0",
        "timeout_s=1, retries=0",
        ["tests/worker/test_faults.py", "-k", "cut_off"],
    ),
    Mutant(
        "that a failed beat is made up for",
        "worker/threads.py",
        "pause_s = min(self._interval_s, RETRY_S)",
        "pause_s = self._interval_s",
        ["tests/worker/test_threads.py"],
    ),
    Mutant(
        "the end of a process whose device is lost",
        "worker/engine/loop.py",
        "self._is_lost = is_lost",
        "self._is_lost = lambda error: False",
        ["tests/worker/test_engine.py"],
    ),
    Mutant(
        "that nothing is loaded before what has to go is unused",
        "worker/residency.py",
        "            self._changed.wait_for(lambda: not any(self._in_use[one] for one in leaving))\n",
        "",
        ["tests/worker/test_residency.py"],
    ),
    Mutant(
        "that a model is what the catalogue says",
        "worker/studio.py",
        "if pipeline.card != card:",
        "if False:",
        ["tests/worker/test_swapping.py", "-k", "not_what_the_catalogue_says"],
    ),
    Mutant(
        "that models in hand take turns",
        "worker/engine/loop.py",
        "if makes_way or self._presence.may_swap or",
        "if makes_way or",
        ["tests/worker/test_swapping.py", "-k", "rows_in_flight"],
    ),
    Mutant(
        "the bound of what a swap is worth",
        f"{STORE}/fairness.py",
        "return 0.0 if model in self.loaded else self.swap_cost",
        "return 0.0 if model in self.loaded else 1e12 * self.swap_cost",
        [f"{TESTS}/store/test_fairness.py", "-k", "swap"],
    ),
    Mutant(
        "the watchdog",
        "worker/watchdog.py",
        "            self._end(EXIT_HUNG)\n",
        "",
        ["tests/worker/test_watchdog.py"],
    ),
    Mutant(
        "the second signal",
        "worker/consumer.py",
        "while not self._crew.is_idle and self._stop_requests < 2:",
        "while not self._crew.is_idle:",
        ["tests/worker/test_process.py", "-k", "second_signal"],
    ),
    Mutant(
        "the door: that who waits with a revoked key is let go",
        "app/watching.py",
        "            await run_in_threadpool(shown.check)\n",
        "            pass\n",
        ["tests/app/routes/test_waiting.py", "-k", "revoked"],
    ),
    Mutant(
        "the door: that who waits shares a look",
        "app/watching.py",
        "        if now - self._passes.get(shown, -GUARD_S) < GUARD_S:\n            return\n",
        "",
        ["tests/app/routes/test_waiting.py", "-k", "shares"],
    ),
    Mutant(
        "the door: that pictures which come with a job count as uploads",
        "app/intake.py",
        "    return _uploaded(house, picture, owner).blob.given",
        "    return blobs.keep(house.store, house.storage, picture).given",
        ["tests/app/dialects/test_given_pictures.py"],
    ),
    Mutant(
        "the studies: that their files are spared",
        f"{STORE}/study_files.py",
        "if key not in named or name != key}",
        "}",
        [f"{TESTS}/store/test_study_files.py", "-k", "sqlite and spared"],
    ),
    Mutant(
        "the studies: that files without one are removed",
        f"{STORE}/unneeded.py",
        " | study_files.orphans(connection, keys, unpinned_s)",
        "",
        [f"{TESTS}/store/test_study_files.py", "-k", "sqlite"],
    ),
    Mutant(
        "the studies: that none is committed after a sweep may have taken its files",
        f"{STORE}/studies.py",
        "            study_files.check_fresh(connection, keys, self._settings.unpinned_s)\n",
        "",
        [f"{TESTS}/store/test_study_files.py", "-k", "sqlite"],
    ),
    Mutant(
        "the owner of an image",
        f"{STORE}/reading.py",
        "tables.images.c.id == image_id, belongs(tables.images, owner), is_kept",
        "tables.images.c.id == image_id, is_kept",
        ["tests/app/test_every_route.py", "tests/app/routes/test_images.py"],
    ),
    Mutant(
        "the owner of an upload",
        f"{STORE}/inputs.py",
        "uploads.c.id == upload_id, uploads.c.owner == owner,",
        "uploads.c.id == upload_id,",
        [f"{TESTS}/store/test_inputs.py", "-k", "sqlite and its_owners"],
    ),
    Mutant(
        "the owner of a study",
        f"{STORE}/studying.py",
        "studies.c.id == study_id, belongs(studies, owner)",
        "studies.c.id == study_id",
        ["tests/app/routes/test_studying.py", "-k", "nobody_sees"],
    ),
    Mutant(
        "the keyset of the shelf",
        f"{STORE}/reading.py",
        "return number < int(cursor)",
        "return number <= int(cursor)",
        [f"{TESTS}/store/test_searching.py", "-k", "sqlite and pages_follow"],
    ),
    Mutant(
        "that a deleted image is not shown",
        f"{STORE}/reading.py",
        "belongs(tables.images, owner), is_kept)\n    found = images_of",
        "belongs(tables.images, owner))\n    found = images_of",
        ["tests/app/routes/test_keeping.py", "-k", "not_there_until"],
    ),
)


def main(words: Sequence[str]) -> int:
    """Try every mutant whose guard is named by one of the words; 0 if each of them is noticed."""
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="darkroom-mutants-") as name:
        copy = Path(name) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "data"))
        for mutant in MUTANTS:
            if not words or any(word in mutant.guard for word in words):
                red = without(mutant, copy)
                survivors += not red
                print(f"{'red' if red else 'SURVIVED'}: {mutant.guard}", flush=True)
                for test in red:
                    print(f"    {test}", flush=True)
    print(f"{survivors} guards can be removed without a test that notices")
    return 1 if survivors else 0


def without(mutant: Mutant, copy: Path) -> list[str]:
    """The tests that fail without the guard.  Raises: LookupError if the guard is not there."""
    path = copy / mutant.file
    whole = path.read_text()
    if whole.count(mutant.text) != 1:
        raise LookupError(f"{mutant.file} must hold {mutant.text!r} once, to remove {mutant.guard}")
    path.write_text(whole.replace(mutant.text, mutant.instead))
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rf", *mutant.tests]
    environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    finally:
        path.write_text(whole)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the tests did not run: {done.stdout}{done.stderr}")
    return re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
