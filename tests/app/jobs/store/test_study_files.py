"""The pictures of studies: what a study names stays, what none names goes, and old studies go with theirs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app import retention
from app.jobs.failures import NotFound, StoreUnavailable
from app.jobs.orphans import remove_orphans
from app.jobs.storage import Storage, open_storage
from app.jobs.store import Store, open_store
from app.jobs.store.studying import NewStudy, NewTrial, Pair
from app.jobs.study_tables import studies, study_answers, study_trials

MONTH_S = 30 * 86_400
OWNER = "ann"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage((tmp_path / "files").as_uri())


@pytest.fixture
def hasty(settings: Any) -> Iterator[Store]:
    """A store that takes every file for forgotten that has no row yet."""
    store = open_store(settings.model_copy(update={"unpinned_s": 0.001}))
    yield store
    store.close()


def written(bench: Any, storage: Storage, pairs: int = 2) -> NewStudy:
    """A study whose pictures lie there and that has no row yet."""
    keys = bench.store.studies.new_keys(2 * pairs)
    for key in keys:
        storage.put(key, b"picture")
    named = tuple(Pair(a, "image:1", b, "image:2") for a, b in zip(keys[::2], keys[1::2], strict=True))
    return NewStudy("Cats", "preferred", 64, 64, 0, named)


def aged(key: str, seconds: int) -> str:
    """The key, as if it had been made so long ago."""
    return f"studies/{int(key[8:17], 16) - seconds:09x}{key[17:]}"


def test_what_a_study_names_is_spared_and_what_none_names_is_removed(
    bench: Any, storage: Storage, hasty: Store, tmp_path: Path
) -> None:
    kept, lost = written(bench, storage), written(bench, storage)
    bench.store.studies.create(OWNER, kept)
    (tmp_path / "files" / f"{kept.pairs[0].a_key}.tmp").write_bytes(b"half")
    storage.put("studies/notes.txt", b"somebody's own")

    assert bench.store.orphans(storage.list()) == set()
    assert remove_orphans(hasty, storage) == 5

    left = {key for pair in kept.pairs for key in (pair.a_key, pair.b_key)}
    assert set(storage.list()) == left | {"studies/notes.txt"}
    assert not left & {key for pair in lost.pairs for key in (pair.a_key, pair.b_key)}


def test_a_file_without_a_study_goes_after_an_hour_and_no_sooner(bench: Any, storage: Storage) -> None:
    key = bench.store.studies.new_keys(1)[0]
    for each in (aged(key, 3500), aged(key, 3700)):
        storage.put(each, b"whoever wrote this died before its row")
    assert remove_orphans(bench.store, storage) == 1
    assert list(storage.list()) == [aged(key, 3500)]


def test_a_study_is_not_written_so_late_that_its_pictures_may_be_gone(bench: Any) -> None:
    a, b = (aged(key, 1900) for key in bench.store.studies.new_keys(2))
    with pytest.raises(StoreUnavailable):
        bench.store.studies.create(OWNER, NewStudy("Cats", "real", 64, 64, 0, (Pair(a, "", b, ""),)))
    assert bench.store.studies.all(OWNER) == []


def test_studies_that_nobody_has_answered_for_so_long_are_pruned_with_their_files(bench: Any, storage: Storage) -> None:
    old, begun, answered, new = (bench.store.studies.create(OWNER, written(bench, storage)) for _ in range(4))
    for study in (begun, answered):
        bench.store.studies.begin(study, OWNER, "ben", [NewTrial(0, False, False)])
    trial = bench.store.studies.trials(answered, OWNER)[0]
    bench.store.studies.answer(answered, OWNER, trial.id, "tie")
    with bench.engine.begin() as connection:
        older = studies.c.created_at - MONTH_S
        connection.execute(update(studies).where(studies.c.id != new).values(created_at=older))
        of_answered = study_trials.c.study_id == answered
        connection.execute(
            update(study_trials).where(of_answered).values(created_at=study_trials.c.created_at - MONTH_S)
        )

    would = retention.prune(bench.store, storage, MONTH_S - 60, dry_run=True)
    assert (would.studies, would.files) == (1, 4)
    assert len(list(storage.list())) == 16

    gone = retention.prune(bench.store, storage, MONTH_S - 60)
    assert (gone.studies, gone.files, gone.orphans) == (1, 4, 0)
    with pytest.raises(NotFound):
        bench.store.studies.get(old, OWNER)
    assert {study.id for study in bench.store.studies.all(OWNER)} == {begun, answered, new}
    assert len(list(storage.list())) == 12

    with bench.engine.begin() as connection:
        connection.execute(update(study_trials).values(created_at=0))
        connection.execute(update(study_answers).values(answered_at=0))
    assert retention.prune(bench.store, storage, MONTH_S - 60).studies == 2
    assert [study.id for study in bench.store.studies.all(OWNER)] == [new]
