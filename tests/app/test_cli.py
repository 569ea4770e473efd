"""`darkroom` on a terminal."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.store import Store, open_store
from app.main import create_app

PATIENCE_S = 60


@pytest.fixture
def data_dir(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder that the commands find in their environment, with a migrated database in it."""
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(settings.data_dir))
    return settings.data_dir


def darkroom(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=PATIENCE_S
    )


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    for command in ("up", "api", "keys", "models", "migrate", "prune", "openapi"):
        assert f" {command} " in shown


@pytest.mark.parametrize("command", ["up", "api", "models", "migrate", "openapi"])
def test_a_bad_setting_is_one_sentence_and_exit_code_1(command: str) -> None:
    done = darkroom(command, DARKROOM_PORT="eighty")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "darkroom: DARKROOM_PORT must be a port from 1 to 65535, got 'eighty'\n"


def test_openapi_prints_the_document_that_the_api_serves(data_dir: Path, settings: Settings) -> None:
    printed = CliRunner().invoke(cli, ["openapi"])
    assert printed.exit_code == 0
    assert json.loads(printed.output) == create_app(settings).openapi()


def test_models_lists_the_catalogue_and_marks_the_default(data_dir: Path, store: Store, entry: CatalogueEntry) -> None:
    store.register_model("worker-1", entry)
    store.register_model("worker-1", entry.model_copy(update={"name": "atlas"}))
    listed = CliRunner().invoke(cli, ["models"])
    assert listed.exit_code == 0
    assert [line.split()[:2] for line in listed.output.splitlines()] == [["atlas", "r1"], ["*", "storybook"]]
    assert "128x128  text_to_image  MIT" in listed.output


def test_models_says_so_when_there_are_none(data_dir: Path) -> None:
    listed = CliRunner().invoke(cli, ["models"])
    assert listed.exit_code == 1
    assert "No worker has registered a model yet" in listed.output


def test_migrate_makes_a_database_fit_for_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(tmp_path / "new"))
    assert CliRunner().invoke(cli, ["migrate"]).exit_code == 0
    open_store(Settings(data_dir=tmp_path / "new")).ping()


def test_the_api_is_not_opened_to_strangers_unasked(data_dir: Path) -> None:
    done = darkroom("api", DARKROOM_HOST="0.0.0.0")
    assert done.returncode == 1
    assert "DARKROOM_HOST must be a loopback address" in done.stderr
    assert "darkroom keys create" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("host", "options"), [("127.0.0.1", []), ("0.0.0.0", ["--open-to-strangers"])])
def test_the_api_alone_comes_up_though_redis_is_away(
    data_dir: Path, away_redis_url: str, host: str, options: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    settings = {"DARKROOM_HOST": host, "DARKROOM_PORT": str(port), "DARKROOM_REDIS_URL": away_redis_url}
    command = [sys.executable, "-m", "app.cli", "api", *options]
    with subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.PIPE) as api:
        try:
            assert answers(f"http://127.0.0.1:{port}/healthz", api)
        finally:
            api.send_signal(signal.SIGTERM)
        api.wait(PATIENCE_S)


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the URL is there before the process ends or patience does."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return httpx2.get(url).status_code == 200
        except httpx2.ConnectError:
            time.sleep(0.05)
    return False


def test_a_key_is_made_printed_once_listed_and_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(tmp_path / "new"))
    runner = CliRunner()
    made = runner.invoke(cli, ["keys", "create", "ann", "--admin"])
    assert made.exit_code == 0
    token = made.output.strip()
    key_id, secret = token.split("_", 2)[1:]
    store = open_store(Settings(data_dir=tmp_path / "new"))
    assert store.keys.admit(token) is not None

    listed = runner.invoke(cli, ["keys", "list"]).output
    assert listed.split()[:3] == [key_id, "ann", "admin"]
    assert secret not in listed

    assert runner.invoke(cli, ["keys", "revoke", key_id]).exit_code == 0
    assert store.keys.admit(token) is None
    assert "revoked" in runner.invoke(cli, ["keys", "list"]).output


def test_a_key_is_rotated_and_its_name_limited(data_dir: Path, store: Store) -> None:
    runner = CliRunner()
    token = runner.invoke(cli, ["keys", "create", "ann", "--queued-jobs", "3"]).output.strip()
    key_id = token.split("_")[1]
    rotated = runner.invoke(cli, ["keys", "rotate", key_id, "--overlap", "1"]).output.strip()
    assert (known := store.keys.admit(token)) is not None
    assert store.keys.admit(rotated) == known
    limited = runner.invoke(cli, ["keys", "limit", "ann", "--requests-per-minute", "0", "--job-cost", "1e6"]).output
    assert limited == (
        "ann: requests per minute without limit, queued jobs 3, job cost 1e+06, uploads 2000 MB\n"
    )
    first, second = runner.invoke(cli, ["keys", "list"]).output.splitlines()
    assert "good until" in first
    assert second.endswith("never used  requests-per-minute 0  queued-jobs 3  job-cost 1e+06") or "used" in second

    nobody = runner.invoke(cli, ["keys", "limit", "bob", "--queued-jobs", "1"])
    assert nobody.exit_code == 1


def test_an_impossible_name_is_one_sentence(data_dir: Path) -> None:
    done = darkroom("keys", "create", "no name", DARKROOM_DATA_DIR=str(data_dir))
    assert done.returncode == 1
    assert done.stderr.startswith("darkroom: a name must be 1 to 64 letters")
