"""The schema's history leads to the schema the code uses."""

import subprocess
import sys
from pathlib import Path
from threading import Thread

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from app.jobs.database import open_engine
from app.jobs.settings import Settings
from app.jobs.store import migrate
from app.jobs.tables import metadata


def test_the_migrations_make_exactly_the_tables_of_the_code(settings: Settings) -> None:
    engine = open_engine(settings)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
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


def test_processes_that_migrate_at_once_wait_for_each_other(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
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
    assert "jobs" in _schema(settings)


def test_migrating_needs_neither_a_file_beside_it_nor_a_certain_folder(tmp_path: Path) -> None:
    code = "from app.jobs import settings, store; store.migrate(settings.load_settings())"
    root = Path(__file__).parents[3]
    environment = {
        "DARKROOM_DATA_DIR": str(tmp_path / "data"),
        "PYTHONPATH": str(root),
        "PATH": "/usr/bin:/bin",
    }

    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "data" / "darkroom.sqlite3").exists()


def _schema(settings: Settings) -> dict[str, str]:
    engine = open_engine(settings)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master ORDER BY name")).all()
    engine.dispose()
    return {row.name: row.sql for row in rows}
