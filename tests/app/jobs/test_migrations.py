"""The schema's history leads to the schema the code uses."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from app.jobs.columns import is_plain, metadata
from app.jobs.database import open_engine
from app.jobs.settings import Settings
from app.jobs.store import migrate
from tests.servers import Postgres

ROOT = Path(__file__).parents[3]
MIGRATE = "from app.jobs import settings, store; store.migrate(settings.load_settings())"


def test_the_migrations_make_exactly_the_tables_of_the_code(settings: Settings) -> None:
    engine = open_engine(settings)
    with engine.connect() as connection:
        options = {"compare_server_default": True, "include_name": is_plain}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        written = {
            table: {check["name"]: check["sqltext"] for check in inspect(connection).get_check_constraints(table)}
            for table in ("jobs", "files")
        }
    engine.dispose()

    assert set(written["jobs"]) == {
        "ck_jobs_state_is_known",
        "ck_jobs_queued_means_wanted",
        "ck_jobs_running_means_leased",
    }
    assert set(written["files"]) == {"ck_files_kind_is_known"}


def test_migrating_again_changes_nothing(settings: Settings) -> None:
    before = _schema(settings)

    migrate(settings)

    assert _schema(settings) == before


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a service whose database has no tables yet."""
    if request.param == "sqlite":
        yield Settings(data_dir=tmp_path / "new")
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield Settings(data_dir=tmp_path / "new", database_url=server.url(name))
    server.drop(name)


def test_threads_that_migrate_at_once_wait_for_each_other(bare_settings: Settings) -> None:
    settings = bare_settings
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(settings)
        except BaseException as failure:
            failures.append(failure)

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert "columns: jobs" in _schema(settings)


def test_processes_that_migrate_at_once_wait_for_each_other(bare_settings: Settings) -> None:
    url = bare_settings.resolved_database_url
    environment = {"DARKROOM_DATABASE_URL": url, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", MIGRATE]

    runs = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]

    assert [(run.communicate()[1], run.returncode) for run in runs] == [(b"", 0), (b"", 0)]
    assert "columns: jobs" in _schema(bare_settings)


def test_a_database_of_the_first_version_keeps_its_jobs_and_images(bare_settings: Settings) -> None:
    migrate(bare_settings, "0001")
    engine = open_engine(bare_settings)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, owner, task, model, params, warnings, cost, state, attempt, losses, solo, "
                "infra_failures, not_before, cancel_requested, step, steps, created_at, queued_at) "
                "VALUES ('j', 'local', 'text_to_image', 'storybook', '{}', '[]', 1, 'queued', 1, 0, false, "
                "0, 0, false, 0, 4, 0, 0)"
            )
        )
        connection.execute(text("INSERT INTO files VALUES ('j/1-0.png', 'image', 'j', 1)"))
        connection.execute(
            text(
                'INSERT INTO images (id, job_id, "index", owner, seed, width, height, format, sha256, size_bytes, key, '
                "thumbnail_key, model_revision, fingerprint, created_at) "
                "VALUES ('i', 'j', 0, 'local', 7, 8, 8, 'png', 'x', 1, 'j/1-0.png', 'j/1-0.png', 'r1', 'cpu', 0)"
            )
        )

    migrate(bare_settings)

    with engine.connect() as connection:
        kept = [connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in ("images", "files")]
        row = connection.execute(text("SELECT priority, tag, idempotency_key FROM jobs")).one()
        lanes = connection.execute(text("SELECT owner, priority, model FROM lanes")).all()
    engine.dispose()
    assert kept == [1, 1]
    assert tuple(row) == ("normal", 0, None)
    assert [tuple(lane) for lane in lanes] == [("local", "normal", "storybook")]


def test_migrating_needs_neither_a_file_beside_it_nor_a_certain_folder(tmp_path: Path) -> None:
    environment = {
        "DARKROOM_DATA_DIR": str(tmp_path / "data"),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }

    run = subprocess.run([sys.executable, "-c", MIGRATE], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "data" / "darkroom.sqlite3").exists()


def _schema(settings: Settings) -> dict[str, str]:
    engine = open_engine(settings)
    with engine.connect() as connection:
        looked_at = inspect(connection)
        shapes = {"columns": looked_at.get_multi_columns(), "indexes": looked_at.get_multi_indexes()}
        versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    engine.dispose()
    described = {
        f"{kind}: {table}": _described(shape) for kind, part in shapes.items() for (_, table), shape in part.items()
    }
    return described | {"version": repr(versions)}


def _described(shape: object) -> str:
    # An expression's own words do not say what it is, but where it lies.
    return re.sub(r" at 0x[0-9a-f]+", "", repr(shape))
