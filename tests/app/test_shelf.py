"""`darkroom models add`: a model that looks whole is there whole, and nothing else is there at all."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import shelf
from app.cli import cli
from app.jobs.catalogue import CatalogueEntry
from app.jobs.settings import Settings
from app.jobs.store import Store
from app.shelf import CannotAdd
from models.catalogue import BUNDLED, find_models


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder: the bundled one."""
    return Path(shutil.copytree(BUNDLED / "storybook", tmp_path / "tale"))


@pytest.fixture
def shelved(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a models folder that is not there yet, also for the commands."""
    monkeypatch.setenv("DARKROOM_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("DARKROOM_MODELS_DIR", str(tmp_path / "models"))
    return settings.model_copy(update={"models_dir": tmp_path / "models"})


@pytest.mark.parametrize("link", [False, True])
def test_a_model_that_was_added_is_what_a_worker_finds(shelved: Settings, folder: Path, link: bool) -> None:
    added = shelf.add(shelved, str(folder), link=link)
    assert added.is_symlink() == link
    assert shelved.models_dir is not None
    assert find_models(shelved.models_dir) == {"tale": added}
    assert shelf.names(shelved) == ["tale"]
    assert (added / "unet" / "config.json").read_bytes() == (folder / "unet" / "config.json").read_bytes()
    assert sorted(path.name for path in shelved.models_dir.iterdir()) == ["tale"]


def test_a_model_is_found_in_the_hugging_face_cache(
    shelved: Settings, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    cached = tmp_path / "hf" / "hub" / "models--ann--saga"
    shutil.copytree(folder, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    assert shelf.add(shelved, "ann/saga").name == "saga"


def test_the_same_name_is_not_taken_twice(shelved: Settings, folder: Path) -> None:
    shelf.add(shelved, str(folder))
    with pytest.raises(CannotAdd, match="is there already"):
        shelf.add(shelved, str(folder))
    assert shelf.add(shelved, str(folder), "other").name == "other"
    with pytest.raises(CannotAdd, match="plain name"):
        shelf.add(shelved, str(folder), "../outside")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "no diffusers folder"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "no object"),
        (lambda folder: (folder / "model_index.json").write_text('{"vae": ["a", "b"]}'), "names no unet"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "tokenizer is missing"),
        (lambda folder: [path.unlink() for path in (folder / "vae").glob("*.safetensors")], "vae has no"),
    ],
)
def test_what_is_not_whole_is_refused_and_leaves_nothing(
    shelved: Settings, folder: Path, harm: object, sentence: str
) -> None:
    harm(folder)  # type: ignore[operator]
    with pytest.raises(CannotAdd, match=sentence):
        shelf.add(shelved, str(folder))
    assert shelf.names(shelved) == []


def test_parts_that_are_left_out_or_not_needed_may_be_missing(shelved: Settings, folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "Checker"], "upscaler": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    shelf.add(shelved, str(folder))


def test_without_a_models_folder_it_says_which_setting_names_one(settings: Settings, folder: Path) -> None:
    with pytest.raises(CannotAdd, match="DARKROOM_MODELS_DIR"):
        shelf.add(settings, str(folder))


def test_the_list_shows_what_lies_ready_and_who_serves_what(
    shelved: Settings, folder: Path, store: Store, entry: CatalogueEntry
) -> None:
    store.register_model("worker-1", entry)
    store.worker_beat("worker-1", {})
    runner = CliRunner()
    assert runner.invoke(cli, ["models", "add", str(folder)]).exit_code == 0
    storybook, tale = runner.invoke(cli, ["models", "list"]).output.splitlines()
    assert storybook.startswith("* storybook  r1  128x128")
    assert storybook.endswith("workers: 1")
    assert tale.split()[0] == "tale"


def test_a_default_is_chosen_for_all_but_those_whose_environment_says_otherwise(
    shelved: Settings, store: Store, entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    store.register_model("worker-1", entry)
    store.register_model("worker-1", entry.model_copy(update={"name": "atlas"}))
    assert "atlas, storybook" in str(runner.invoke(cli, ["models", "default", "nobody"]).exception)
    assert runner.invoke(cli, ["models", "default", "atlas"]).output == "atlas is the default.\n"
    assert runner.invoke(cli, ["models", "list"]).output.startswith("* atlas")
    monkeypatch.setenv("DARKROOM_DEFAULT_MODEL", "storybook")
    assert "DARKROOM_DEFAULT_MODEL is storybook, and wins" in runner.invoke(cli, ["models", "default", "atlas"]).output
