"""The answers of a blind study without the veil: for counting, and as a sheet for other programs."""

import csv
import io
from collections.abc import Sequence

from app.jobs.store.studying import Pair, Study, Trial
from app.study.judging import Answer, Verdict

COLUMNS = (
    *("study", "kind", "rater", "position", "pair", "is_repeat"),
    *("left", "right", "choice", "chosen", "winner", "answered_at"),
)


def answers_of(trials: Sequence[Trial]) -> list[Answer]:
    """What was answered, by which picture rather than which side."""
    said = [(trial, verdict_of(trial)) for trial in trials]
    # Two raters may have one name.
    return [
        Answer(f"{trial.rater} ({trial.rater_id[:4]})", trial.pair, verdict, trial.is_repeat)
        for trial, verdict in said
        if verdict is not None
    ]


def verdict_of(trial: Trial) -> Verdict | None:
    """Which picture was chosen; None while nothing was."""
    if trial.choice is None or trial.choice == "tie":
        return trial.choice
    return "a" if (trial.choice == "left") != trial.is_swapped else "b"


def sheet(study: Study, pairs: Sequence[Pair], trials: Sequence[Trial]) -> str:
    """Every answer as CSV: who, when, what lay where, what was chosen."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for trial in trials:
        if trial.answered_at is None:
            continue
        pair = pairs[trial.pair]
        sides = (pair.b_source, pair.a_source) if trial.is_swapped else (pair.a_source, pair.b_source)
        verdict = verdict_of(trial)
        chosen = {"a": pair.a_source, "b": pair.b_source}.get(str(verdict), "")
        when = trial.answered_at.isoformat(timespec="seconds")
        whose = (study.name, study.kind, trial.rater, trial.position, trial.pair, trial.is_repeat)
        writer.writerow(map(_plain, (*whose, *sides, trial.choice, chosen, verdict, when)))
    return out.getvalue()


def _plain(value: object) -> str:
    """The value as text that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
