"""The environment becomes frozen settings, or a sentence that says what is wrong."""

import shutil
import tempfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.jobs.failures import SettingsError
from app.jobs.settings import (
    SOCKET_PATH_BYTES,
    Settings,
    load_settings,
    make_socket_folder,
    private_folder,
)


def test_without_an_environment_everything_lies_in_one_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load_settings()

    assert settings.data_dir == tmp_path / "data"
    assert settings.host == "127.0.0.1"
    assert settings.port is None
    assert settings.redis_url is None
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/data/darkroom.sqlite3"
    assert settings.resolved_storage_url == f"file://{tmp_path}/data/files"
    assert settings.resolved_redis_url == f"unix://{settings.socket_path}"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "8123")
    monkeypatch.setenv("DARKROOM_LEASE_S", "2.5")
    monkeypatch.setenv("DARKROOM_BEAT_S", "1")
    monkeypatch.setenv("DARKROOM_REDIS_URL", "redis://example.test/0")
    monkeypatch.setenv("DARKROOM_MODELS_DIR", "~/models")

    settings = load_settings()

    assert (settings.port, settings.lease_s, settings.beat_s) == (8123, 2.5, 1.0)
    assert settings.resolved_redis_url == "redis://example.test/0"
    assert settings.models_dir == Path.home() / "models"


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "8123")
    monkeypatch.setenv("DARKROOM_HOST", "localhost")

    settings = load_settings(port=9000, host=None)

    assert (settings.port, settings.host) == (9000, "localhost")


def test_an_empty_variable_is_one_that_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "")
    monkeypatch.setenv("DARKROOM_REDIS_URL", "")

    assert load_settings().port is None
    assert load_settings().redis_url is None


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("DARKROOM_PORT", "abc", "a port from 1 to 65535"),
        ("DARKROOM_PORT", "70000", "a port from 1 to 65535"),
        ("DARKROOM_LEASE_S", "0", "a number of seconds above 0"),
        ("DARKROOM_LEASE_S", "nan", "a number of seconds above 0"),
        ("DARKROOM_SHUTDOWN_S", "inf", "a number of seconds above 0"),
        ("DARKROOM_MAX_ATTEMPTS", "2.5", "a whole number from 1 to 100"),
        ("DARKROOM_DTYPE", "int4", "one of auto, float32, float16, bfloat16"),
        ("DARKROOM_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("DARKROOM_DEVICE", "tpu", "auto, cpu, mps, cuda or cuda:N"),
        ("DARKROOM_DATABASE_URL", "mysql://db/x", "a sqlite:/// or postgresql:// URL"),
        ("DARKROOM_REDIS_URL", "http://redis", "a unix://, redis:// or rediss:// URL"),
        ("DARKROOM_STORAGE_URL", "files", "a file:/// URL"),
        ("DARKROOM_STORAGE_URL", "ftp://host/files", "a file:/// URL"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as failure:
        load_settings()

    assert str(failure.value).startswith(f"{name} must be {allowed}")
    assert repr(value) in str(failure.value)


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "abc")
    monkeypatch.setenv("DARKROOM_THREADS", "0")

    with pytest.raises(SettingsError, match=r"DARKROOM_PORT must.*; DARKROOM_THREADS must"):
        load_settings()


def test_a_password_in_a_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_DATABASE_URL", "mysql://user:hunter2@db/x")

    with pytest.raises(SettingsError) as failure:
        load_settings()

    assert "mysql://***@db/x" in str(failure.value)
    assert "hunter2" not in str(failure.value)


def test_a_misspelt_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PROT", "8000")

    with pytest.raises(SettingsError, match=r"DARKROOM_PROT is not a setting.*did you mean DARKROOM_PORT"):
        load_settings()


def test_a_strange_variable_is_refused_with_all_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_QQQQQQQQ", "1")

    with pytest.raises(SettingsError, match="known are DARKROOM_HOST, DARKROOM_PORT"):
        load_settings()


def test_a_lease_must_outlast_a_missed_beat() -> None:
    with pytest.raises(SettingsError, match="DARKROOM_BEAT_S must be at most half of DARKROOM_LEASE_S"):
        load_settings(lease_s=5, beat_s=3)


def test_settings_are_frozen(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_spoken_through_psycopg_three(scheme: str) -> None:
    settings = load_settings(database_url=f"{scheme}://user@db/darkroom")

    assert settings.resolved_database_url == "postgresql+psycopg://user@db/darkroom"


def test_a_deep_data_folder_gets_a_short_socket_that_every_process_finds(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    first, second = Settings(data_dir=deep), Settings(data_dir=deep)

    assert len(str(first.socket_path)) <= SOCKET_PATH_BYTES
    assert first.socket_path == second.socket_path
    assert first.socket_path != Settings(data_dir=tmp_path / ("e" * 100)).socket_path


def test_the_socket_path_is_measured_in_bytes_not_in_characters() -> None:
    settings = Settings(data_dir=Path("/" + "é" * 50))

    assert len(str(settings.data_dir / "valkey.sock")) < SOCKET_PATH_BYTES
    assert not settings.socket_path.is_relative_to(settings.data_dir)


def test_the_socket_folder_is_the_data_folder_or_a_private_one(tmp_path: Path) -> None:
    near = Settings(data_dir=Path(tempfile.mkdtemp(prefix="darkroom-")) / "data")
    far = Settings(data_dir=tmp_path / ("d" * 100))

    assert make_socket_folder(near) == near.data_dir / "valkey.sock"
    assert near.data_dir.is_dir()
    assert make_socket_folder(far).parent.stat().st_mode & 0o777 == 0o700

    shutil.rmtree(near.data_dir.parent)
    far.socket_path.parent.rmdir()


def test_a_private_folder_admits_nobody_else(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "private")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


def test_a_folder_that_others_may_enter_is_not_private(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)

    with pytest.raises(SettingsError, match="must be a folder that belongs to this user alone"):
        private_folder(folder)


def test_a_link_to_a_folder_is_not_private(tmp_path: Path) -> None:
    real = private_folder(tmp_path / "real")
    link = tmp_path / "link"
    link.symlink_to(real)

    with pytest.raises(SettingsError, match="must be a folder that belongs to this user alone"):
        private_folder(link)
