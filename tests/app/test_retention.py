"""`darkroom prune`: what ended long ago goes with its files, and nothing else does."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update
from typer.testing import CliRunner

from app import retention
from app.cli import cli
from app.jobs.database import open_engine
from app.jobs.failures import SettingsError
from app.jobs.settings import Settings
from app.jobs.storage import Storage, open_storage
from app.jobs.store import Job, Store
from app.jobs.tables import jobs

MONTH_S = 30 * 86_400


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Both databases are pruned."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return open_storage(settings.resolved_storage_url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def made(engine: Engine, submit: Callable[..., object], develop: Callable[[], Job]) -> Callable[[float], Job]:
    """Makes a job with two images that ended so many seconds ago."""

    def make(ago_s: float) -> Job:
        submit(num_images=2)
        job = develop()
        with engine.begin() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job.id).values(finished_at=jobs.c.finished_at - ago_s))
        return job

    return make


def test_old_jobs_go_with_their_files_and_the_rest_stays(
    client: TestClient, store: Store, storage: Storage, made: Callable[[float], Job], submit: Callable[..., object]
) -> None:
    old, new = made(MONTH_S + 60), made(60)
    submit()
    storage.put("0" * 32 + "/1-0.png", b"nobody's")
    files = set(storage.list())

    would = retention.prune(store, storage, MONTH_S, dry_run=True)
    assert (would.jobs, would.images, would.files) == (1, 2, 4)
    assert set(storage.list()) == files

    gone = retention.prune(store, storage, MONTH_S)
    assert (gone.jobs, gone.images, gone.files, gone.orphans) == (1, 2, 4, 1)
    assert {key.split("/")[0] for key in storage.list()} == {new.id}
    assert client.get(f"/api/v1/jobs/{old.id}").status_code == 404
    assert client.get(f"/api/v1/images/{old.images[0].id}/content").status_code == 404
    assert client.get(f"/api/v1/images/{new.images[0].id}/content").status_code == 200
    assert store.queue_length() == 1
    assert retention.prune(store, storage, MONTH_S) == retention.Gone(0, 0, 0, 0)


def test_files_whose_deletion_was_cut_off_are_found_by_the_next(
    store: Store, storage: Storage, made: Callable[[float], Job]
) -> None:
    made(MONTH_S + 60)
    store.ledger.tally()
    store.ledger.prune(MONTH_S)
    assert retention.prune(store, storage, MONTH_S).orphans == 4
    assert list(storage.list()) == []


def test_the_command_says_what_it_did_in_numbers(
    settings: Settings, made: Callable[[float], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(MONTH_S + 60)
    for name, value in settings.model_dump(exclude_unset=True).items():
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", str(value))
    said = [
        CliRunner().invoke(cli, ["prune", *options]).output for options in (["--dry-run"], [], ["--older-than", "1w"])
    ]
    assert said == [
        "Would delete 1 jobs with 2 images and 0 studies in 4 files.\n",
        "Deleted 1 jobs with 2 images and 0 studies in 4 files, and 0 files that nothing needed.\n",
        "Deleted 0 jobs with 0 images and 0 studies in 0 files, and 0 files that nothing needed.\n",
    ]


@pytest.mark.parametrize("words", ["", "30", "0d", "1m", "-1d", "d", "1.5h", "1d "])
def test_a_time_that_makes_no_sense_is_refused(words: str) -> None:
    with pytest.raises(SettingsError, match="--older-than must be"):
        retention.seconds(words)


def test_hours_days_and_weeks_are_understood() -> None:
    assert [retention.seconds(words) for words in ("1h", "30d", "2w")] == [3600, MONTH_S, 1_209_600]
