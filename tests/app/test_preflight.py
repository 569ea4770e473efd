"""What `darkroom up` insists on before it starts anything."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.settings import Settings
from app.jobs.store import Store
from app.supervisor.errors import NoAnswer, Refused
from app.supervisor.preflight import DEFAULT_PORT, check_what_is_named, data_folder, listen, refuse_strangers
from app.supervisor.up import url_of


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of loopback that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.fixture
def away_database_url() -> str:
    """The URL of a database that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        return f"postgresql://127.0.0.1:{finder.getsockname()[1]}/darkroom"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_a_loopback_host_is_accepted(host: str) -> None:
    refuse_strangers(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org"])
def test_a_host_beyond_loopback_is_refused_in_a_sentence_that_says_how_to_make_a_key(
    host: str, settings: Settings
) -> None:
    with pytest.raises(Refused, match=r"DARKROOM_HOST must be a loopback address .* no keys yet.*darkroom keys create"):
        refuse_strangers(settings.model_copy(update={"host": host}))


def test_a_host_beyond_loopback_is_accepted_once_there_is_a_key(settings: Settings, store: Store) -> None:
    store.keys.create("ann")
    refuse_strangers(settings.model_copy(update={"host": "0.0.0.0"}))


def test_a_database_that_cannot_be_asked_has_no_keys_unless_everybody_is_kept_out(away_database_url: str) -> None:
    settings = Settings(host="0.0.0.0", database_url=away_database_url)
    with pytest.raises(Refused):
        refuse_strangers(settings)
    refuse_strangers(settings, unknown_is_none=False)


def test_a_database_that_does_not_exist_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        refuse_strangers(Settings(data_dir=tmp_path / "new", host="0.0.0.0"), unknown_is_none=False)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_asked_for_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    with listen("127.0.0.1", port, say=pytest.fail) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)


def test_a_port_that_is_asked_for_and_taken_is_an_error(taken: int) -> None:
    with pytest.raises(Refused, match=f"DARKROOM_PORT.*{taken}.*in use"):
        listen("127.0.0.1", taken, say=pytest.fail)


def test_a_taken_default_port_moves_to_a_free_one_and_says_so() -> None:
    said: list[str] = []
    with listen("127.0.0.1", None, said.append), listen("127.0.0.1", None, said.append) as second:
        port = second.getsockname()[1]
    assert port > DEFAULT_PORT
    assert f"port {DEFAULT_PORT} is taken, so it is {port} this time" in said


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:{}"), ("localhost", "http://localhost:{}"), ("::1", "http://[::1]:{}")],
)
def test_the_url_is_one_that_a_browser_takes(host: str, url: str) -> None:
    if host == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with listen(host, None, say=[].append) as listener:
        assert url_of(host, listener) == url.format(listener.getsockname()[1])


def test_an_address_that_this_machine_does_not_have_is_an_error_of_the_host() -> None:
    with pytest.raises(Refused, match="DARKROOM_HOST"):
        listen("203.0.113.1", None, say=pytest.fail)


def test_a_data_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    with data_folder(tmp_path / "deep" / "data"):
        assert (tmp_path / "deep" / "data").stat().st_mode & 0o777 == 0o700


def test_a_data_folder_has_one_launcher_at_a_time(tmp_path: Path) -> None:
    with (
        data_folder(tmp_path),
        pytest.raises(Refused, match=r"Another `darkroom up` \(process \d+\)"),
        data_folder(tmp_path),
    ):
        pass
    with data_folder(tmp_path):
        pass


def test_a_data_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Refused, match="DARKROOM_DATA_DIR must be a folder to write to"),
        data_folder(tmp_path / "file" / "data"),
    ):
        pass


def test_what_is_named_and_answers_passes(tmp_path: Path, redis_url: str) -> None:
    check_what_is_named(
        Settings(
            data_dir=tmp_path,
            redis_url=redis_url,
            database_url=f"sqlite:///{tmp_path}/rows.sqlite3",
            storage_url=(tmp_path / "files").as_uri(),
            models_dir=tmp_path,
        )
    )


def test_what_is_not_named_is_not_asked(tmp_path: Path) -> None:
    check_what_is_named(Settings(data_dir=tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("redis_url", "redis://:opensesame@127.0.0.1:{free}/0"),
        ("redis_url", "unix:///nowhere/valkey.sock"),
        ("database_url", "postgresql://ann:opensesame@127.0.0.1:{free}/darkroom"),
        ("database_url", "sqlite:////nowhere/rows.sqlite3"),
        ("storage_url", "file:///proc/nowhere"),
        ("models_dir", "/nowhere/models"),
    ],
)
def test_what_is_named_and_does_not_answer_is_an_error_without_secrets(variable: str, value: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as finder:
        free = finder.getsockname()[1]
    settings = Settings(**{variable: value.format(free=free)})
    with pytest.raises(NoAnswer, match=f"DARKROOM_{variable.upper()}") as refusal:
        check_what_is_named(settings)
    assert "opensesame" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_database_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "novel").write_text("It was a dark and stormy night. " * 100)
    with pytest.raises(NoAnswer, match="DARKROOM_DATABASE_URL"):
        check_what_is_named(Settings(database_url=f"sqlite:///{tmp_path}/novel"))
