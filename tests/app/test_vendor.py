"""What others made is here unchanged, named, and with its licence."""

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "app/static/vendor", ROOT / "tests/e2e/vendor")


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_every_vendored_file_is_the_one_that_is_named(folder: Path) -> None:
    for entry in json.loads((folder / "vendor.json").read_text()):
        assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        assert entry["name"]
        assert entry["version"]
        assert entry["licence"]


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_every_file_is_named_or_is_the_licence_of_one(folder: Path) -> None:
    entries = json.loads((folder / "vendor.json").read_text())
    licences = {licence for entry in entries for licence in entry["licence_files"]}
    named = {entry["file"] for entry in entries} | licences | {"vendor.json"}
    assert {path.name for path in folder.iterdir()} == named
    assert all((folder / licence).read_text().strip() for licence in licences)


def test_our_scripts_are_small() -> None:
    scripts = list((ROOT / "app/static").glob("*.js"))
    assert scripts
    assert all(len(script.read_text().splitlines()) <= 150 for script in scripts)
    assert sum(script.stat().st_size for script in scripts) <= 30_000
