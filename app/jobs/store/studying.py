"""The rows of blind studies: what is shown to whom, and what they answered.  An answer is given once and stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from sqlalchemy import Connection, Row, Select, delete, func, insert, select

from app.jobs.columns import database_now
from app.jobs.failures import NotFound
from app.jobs.store.reading import belongs
from app.jobs.store.rows import upsert
from app.jobs.study_tables import studies, study_answers, study_pairs, study_trials

Kind = Literal["real", "preferred"]
Choice = Literal["left", "right", "tie"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures: where each lies in the storage, and what it was copied from."""

    a_key: str
    a_source: str
    b_key: str
    b_source: str


@dataclass(frozen=True, slots=True)
class NewStudy:
    """A study before it has an id.  Width and height are those of every picture in it."""

    name: str
    kind: Kind
    width: int
    height: int
    repeats: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A study as its owner may see it."""

    id: str
    owner: str
    name: str
    kind: Kind
    width: int
    height: int
    repeats: int
    pairs: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewTrial:
    """One pair as one rater will see it; `is_swapped`: A lies on the right."""

    pair: int
    is_swapped: bool
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """One pair as one rater sees it, and what was answered, if it was."""

    id: str
    rater_id: str
    rater: str
    position: int
    pair: int
    is_swapped: bool
    is_repeat: bool
    left_token: str
    right_token: str
    choice: Choice | None
    answered_at: datetime | None


def create(connection: Connection, owner: str, new: NewStudy) -> str:
    """Write a study with its pairs; returns its id."""
    study_id = uuid4().hex
    facts = {"name": new.name, "kind": new.kind, "width": new.width, "height": new.height, "repeats": new.repeats}
    connection.execute(insert(studies).values(id=study_id, owner=owner, created_at=database_now(), **facts))
    rows = [
        {
            "study_id": study_id,
            "number": number,
            "a_key": pair.a_key,
            "a_source": pair.a_source,
            "b_key": pair.b_key,
            "b_source": pair.b_source,
        }
        for number, pair in enumerate(new.pairs)
    ]
    connection.execute(insert(study_pairs), rows)
    return study_id


def all_of(connection: Connection, owner: str | None) -> list[Study]:
    """The owner's studies, newest first."""
    query = _studies().where(belongs(studies, owner)).order_by(studies.c.number.desc())
    return [_study(row) for row in connection.execute(query)]


def one(connection: Connection, study_id: str, owner: str | None) -> Study:
    """One study.  Raises: NotFound."""
    row = connection.execute(_studies().where(studies.c.id == study_id, belongs(studies, owner))).one_or_none()
    if row is None:
        raise NotFound(f"there is no study {study_id!r}")
    return _study(row)


def pairs(connection: Connection, study_id: str) -> list[Pair]:
    """The pairs of a study in the order of their numbers."""
    query = select(study_pairs).where(study_pairs.c.study_id == study_id).order_by(study_pairs.c.number)
    return [Pair(row.a_key, row.a_source, row.b_key, row.b_source) for row in connection.execute(query)]


def begin(connection: Connection, study_id: str, rater: str, trials: Sequence[NewTrial]) -> str:
    """Write what a new rater will see, in this order; returns the rater's id."""
    rater_id = uuid4().hex
    rows = [
        {
            "id": uuid4().hex,
            "study_id": study_id,
            "rater_id": rater_id,
            "rater": rater,
            "position": position,
            "pair": trial.pair,
            "is_swapped": trial.is_swapped,
            "is_repeat": trial.is_repeat,
            "left_token": uuid4().hex,
            "right_token": uuid4().hex,
        }
        for position, trial in enumerate(trials)
    ]
    connection.execute(insert(study_trials).values(created_at=database_now()), rows)
    return rater_id


def trials(connection: Connection, study_id: str, rater_id: str | None = None) -> list[Trial]:
    """All that is shown in a study, or to one rater of it, with the answers there are."""
    query = (
        select(study_trials, study_answers.c.choice, study_answers.c.answered_at)
        .join(study_answers, isouter=True)
        .where(study_trials.c.study_id == study_id)
        .order_by(study_trials.c.created_at, study_trials.c.rater_id, study_trials.c.position)
    )
    if rater_id is not None:
        query = query.where(study_trials.c.rater_id == rater_id)
    return [_trial(row) for row in connection.execute(query)]


def answer(connection: Connection, study_id: str, trial_id: str, choice: Choice) -> str:
    """Write an answer unless there is one; returns the rater's id.  Raises: NotFound."""
    known = select(study_trials.c.rater_id).where(study_trials.c.id == trial_id, study_trials.c.study_id == study_id)
    rater_id = connection.execute(known).scalar()
    if rater_id is None:
        raise NotFound(f"there is no trial {trial_id!r}")
    said = {"choice": choice, "answered_at": database_now()}
    # Only the key may be met again: nothing of the first answer is overwritten.
    upsert(connection, study_answers, {"trial_id": trial_id}, only_if_new=said)
    return str(rater_id)


def picture_key(connection: Connection, token: str, owner: str | None) -> str:
    """Where the picture lies that a rater knows by this token.  Raises: NotFound."""
    query = (
        select(study_trials.c.left_token, study_trials.c.is_swapped, study_pairs.c.a_key, study_pairs.c.b_key)
        .join(studies, studies.c.id == study_trials.c.study_id)
        .join(
            study_pairs,
            (study_pairs.c.study_id == study_trials.c.study_id) & (study_pairs.c.number == study_trials.c.pair),
        )
        .where((study_trials.c.left_token == token) | (study_trials.c.right_token == token), belongs(studies, owner))
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("there is no such picture")
    is_left = row.left_token == token
    return str(row.a_key if is_left != row.is_swapped else row.b_key)


def forget(connection: Connection, study_id: str, owner: str | None) -> list[str]:
    """Delete a study and all that belongs to it; returns the keys of its files.  Raises: NotFound."""
    one(connection, study_id, owner)
    keys = [key for pair in pairs(connection, study_id) for key in (pair.a_key, pair.b_key)]
    connection.execute(delete(studies).where(studies.c.id == study_id))
    return keys


def _studies() -> Select[tuple[object, ...]]:
    count = select(func.count()).where(study_pairs.c.study_id == studies.c.id).scalar_subquery()
    return select(studies, count.label("pairs"))


def _study(row: Row[tuple[object, ...]]) -> Study:
    return Study(
        id=row.id,
        owner=row.owner,
        name=row.name,
        kind=row.kind,
        width=row.width,
        height=row.height,
        repeats=row.repeats,
        pairs=row.pairs,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


def _trial(row: Row[tuple[object, ...]]) -> Trial:
    return Trial(
        id=row.id,
        rater_id=row.rater_id,
        rater=row.rater,
        position=row.position,
        pair=row.pair,
        is_swapped=row.is_swapped,
        is_repeat=row.is_repeat,
        left_token=row.left_token,
        right_token=row.right_token,
        choice=row.choice,
        answered_at=None if row.answered_at is None else datetime.fromtimestamp(row.answered_at, UTC),
    )
