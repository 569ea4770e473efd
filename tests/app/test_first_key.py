"""The key that an API makes at its first start, so that it never listens beyond its machine without one."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from app.jobs.database import Transactions, open_engine
from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.store import Principal, Store, keyring
from app.supervisor import first_key
from app.supervisor.errors import Refused
from app.supervisor.first_key import make_first_key
from app.supervisor.preflight import refuse_strangers

PATIENCE_S = 30


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """A migrated database of each kind."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    """Settings of a service that others than this machine can call."""
    return settings.model_copy(update={"host": "0.0.0.0", "sweep_s": 0.05})


def lose_the_database(connection: Any) -> None:
    raise StoreUnavailable("gone")


def at_once(count: int, make: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=make, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_the_first_start_makes_a_key_tells_it_once_and_keeps_it_for_its_user_alone(
    open_settings: Settings, store: Store, tmp_path: Path
) -> None:
    path, said = tmp_path / "volume" / "first-key", list[str]()
    make_first_key(open_settings, path, said.append)

    token = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [path.name] == [each.name for each in path.parent.iterdir()]
    assert len(said) == 1
    assert said[0].endswith(token)
    assert store.keys.admit(token) == Principal("admin", is_admin=True)
    refuse_strangers(open_settings)


def test_a_second_start_makes_none_also_after_the_key_was_revoked(
    open_settings: Settings, store: Store, tmp_path: Path
) -> None:
    path, said = tmp_path / "first-key", list[str]()
    make_first_key(open_settings, path, said.append)
    store.keys.revoke(store.keys.all()[0].id)
    path.unlink()
    make_first_key(open_settings, path, said.append)

    assert len(store.keys.all()) == len(said) == 1
    assert not path.exists()


def test_a_service_with_a_key_of_anybody_gets_no_other(open_settings: Settings, store: Store, tmp_path: Path) -> None:
    store.keys.create("ann")
    make_first_key(open_settings, tmp_path / "first-key", pytest.fail)
    assert [key.principal.name for key in store.keys.all()] == ["ann"]
    assert not (tmp_path / "first-key").exists()


def test_a_service_of_this_machine_alone_stays_without_keys(settings: Settings, store: Store, tmp_path: Path) -> None:
    make_first_key(settings, tmp_path / "first-key", pytest.fail)
    assert not store.keys.exist()


def test_of_two_that_start_at_once_one_makes_the_key_and_the_other_goes_on(
    open_settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    both_asked = threading.Barrier(2, timeout=1)
    has_keys = keyring.admitting.has_keys

    def ask_together(connection: Any) -> bool:
        """Both see no key before either makes one, where the database lets two write at once."""
        answer = has_keys(connection)
        if connection.dialect.name == "postgresql":
            both_asked.wait()
        return answer

    monkeypatch.setattr(keyring.admitting, "has_keys", ask_together)
    at_once(2, lambda number: make_first_key(open_settings, tmp_path / f"first-key-{number}", said.append))

    (path,) = tmp_path.glob("first-key-*")
    assert len(said) == len(store.keys.all()) == 1
    assert store.keys.admit(path.read_text().strip()) == Principal("admin", is_admin=True)


def test_a_file_that_cannot_be_written_leaves_no_key_behind(
    open_settings: Settings, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match="--first-key must be a file that can be written"):
        make_first_key(open_settings, tmp_path / "folder", pytest.fail)
    assert not store.keys.exist()
    assert list(tmp_path.glob(".folder*")) == []


def test_the_key_is_on_file_before_it_lets_anybody_in(open_settings: Settings, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "first-key"
    engine = open_engine(open_settings)
    event.listen(engine, "commit", lose_the_database)
    with pytest.raises(StoreUnavailable):
        keyring.Keyring(Transactions(engine), open_settings).create_first(lambda key: first_key._keep(key, path))
    engine.dispose()
    dead = path.read_text()
    assert store.keys.admit(dead.strip()) is None

    make_first_key(open_settings, path, lambda text: None)
    assert path.read_text() != dead
    assert store.keys.admit(path.read_text().strip()) is not None


def test_a_database_that_is_away_gets_its_key_when_it_is_back(
    open_settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_away = threading.Event()
    is_away.set()
    create_first = keyring.Keyring.create_first

    def answer(self: keyring.Keyring, keep: Any) -> Any:
        if is_away.is_set():
            raise StoreUnavailable("away")
        return create_first(self, keep)

    monkeypatch.setattr(keyring.Keyring, "create_first", answer)
    said = list[str]()
    make_first_key(open_settings, tmp_path / "first-key", said.append)
    assert not store.keys.exist()
    is_away.clear()
    deadline = time.monotonic() + PATIENCE_S
    while not said:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert store.keys.admit((tmp_path / "first-key").read_text().strip()) == Principal("admin", is_admin=True)
