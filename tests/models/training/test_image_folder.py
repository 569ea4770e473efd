"""Own pictures: found with their captions, split for good, and trained on like scenes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import TextToImage, load_pipeline
from models.checkpoints.writing import save_folder
from models.training.config import AutoencoderTraining, DiffusionTraining, read_config
from models.training.image_folder import ImageFolder
from models.training.recipes import Run, train_diffusion
from models.training.sources import open_source
from tests.models.conftest import small_pipeline

CPU = torch.device("cpu")


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Captions of both kinds, and a picture that has none."""
    root = tmp_path / "pictures"
    lines = []
    for number in range(30):
        paint(root / f"red{number}.png", (200, 0, 0))
        lines.append(json.dumps({"file_name": f"red{number}.png", "text": f"red number {number}"}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    for number in range(10):
        paint(root / "more" / f"blue{number}.jpg", (0, 0, 200), (25, 60)).with_suffix(".txt").write_text("blue\n")
    paint(root / "nameless.png", (0, 200, 0))
    return root


def test_pictures_are_found_with_the_captions_of_both_kinds(folder: Path) -> None:
    source = ImageFolder(folder, 16)
    captions = {caption for pictures in source.pictures.values() for _, caption in pictures}
    assert captions == {f"red number {number}" for number in range(30)} | {"blue"}
    assert sum(map(len, source.pictures.values())) == 40
    assert source.pictures["held_out"]
    again = ImageFolder(folder, 16)
    assert again.pictures == source.pictures


def test_batches_are_squares_that_follow_from_number_split_and_seed(folder: Path) -> None:
    source = ImageFolder(folder, 16)
    batch = source.draw(3, 20)
    assert batch.images.shape == (20, 3, 16, 16)
    for image, caption in zip(batch.images, batch.captions, strict=True):
        assert image[0].mean() > 0.4 if caption.startswith("red") else image[2].mean() > 0.4
    assert torch.equal(batch.images, source.draw(3, 20).images)
    assert batch.captions != source.draw(4, 20).captions
    assert batch.captions != source.draw(3, 20, seed=1).captions
    kept_out = {caption for _, caption in source.pictures["held_out"]}
    assert set(source.draw(0, 50, split="held_out").captions) <= kept_out


def test_a_picture_is_shrunk_and_cut_or_with_a_crop_only_cut(tmp_path: Path) -> None:
    stripes = np.zeros((64, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    for name in ("one", "two"):
        Image.fromarray(stripes).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("stripes")
    shrunk = ImageFolder(tmp_path, 16).draw(0, 2).images
    assert shrunk.abs().max() < 0.2
    cut = ImageFolder(tmp_path, 16, is_cropped=True).draw(0, 2).images
    assert cut.abs().min() == 1.0


def test_a_split_of_its_own_is_kept(folder: Path) -> None:
    paint(folder / "validation" / "green.png", (0, 200, 0)).with_suffix(".txt").write_text("green")
    source = ImageFolder(folder, 16)
    assert [caption for _, caption in source.pictures["held_out"]] == ["green"]


def test_a_picture_turned_by_its_exif_is_upright(tmp_path: Path) -> None:
    tall = np.zeros((32, 64, 3), np.uint8)
    tall[:, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    for name in ("one", "two"):
        Image.fromarray(tall).save(tmp_path / f"{name}.png", exif=exif)
        (tmp_path / f"{name}.txt").write_text("white above black")
    image = ImageFolder(tmp_path, 32, is_cropped=True).draw(0, 1).images[0]
    rows = image.mean(dim=(0, 2))
    assert bool((rows.diff() <= 0).all()), "bright rows may only come first"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", r"metadata.jsonl:1 must be a JSON object with file_name and text"),
        ('{"file_name": "red0.png"}', "must be a JSON object with file_name and text"),
        ('{"file_name": "red0.png", "text": 3}', "must be strings"),
        ('{"file_name": "gone.png", "text": "gone"}', r"names pictures that are not there: .*gone.png"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, line: str, said: str) -> None:
    (folder / "metadata.jsonl").write_text(line)
    with pytest.raises(ValueError, match=said):
        ImageFolder(folder, 16)


def test_a_folder_without_captioned_pictures_and_a_broken_picture_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must hold at least two pictures"):
        ImageFolder(tmp_path / "empty", 16)
    with pytest.raises(ValueError, match="must be a folder that exists"):
        ImageFolder(tmp_path / "nowhere", 16)
    for picture in folder.rglob("*.png"):
        picture.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="no picture that can be read"):
        ImageFolder(folder, 16).draw(0, 20)


def write(path: Path, **values: object) -> Path:
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items()))
    return path


def test_a_config_names_a_folder_from_where_it_lies_and_not_scenes_too(folder: Path) -> None:
    common = {"preset": "cpu", "num_steps": 1, "batch_size": 2, "learning_rate": 1e-3}
    path = write(folder.parent / "run.toml", **common, images="pictures", native_size=16)
    config = read_config(path, AutoencoderTraining)
    assert open_source(config).draw(0, 2).images.shape == (2, 3, 16, 16)
    for wrong in ({}, {"images": "pictures", "scenes": "a"}):
        with pytest.raises(ValueError, match="one of scenes and images must be given"):
            read_config(write(path, **common, **wrong), AutoencoderTraining)


@pytest.mark.parametrize("in_channels", [4, 9])
def test_a_model_is_trained_further_on_own_pictures(folder: Path, tmp_path: Path, in_channels: int) -> None:
    before = small_pipeline(in_channels=in_channels)
    save_folder(before, tmp_path / "before", dtype=torch.float32)
    config = write(
        tmp_path / "run.toml",
        preset="cpu",
        images="pictures",
        native_size=32,
        num_steps=2,
        batch_size=2,
        learning_rate=1e-3,
        warmup_steps=1,
        ema_decay=0.0,
        bfloat16=False,
        grid_steps=1,
    )
    train_diffusion(config, Run(tmp_path / "run", CPU, lambda _: None, tmp_path / "before"), None, name="mine")
    after = load_pipeline(tmp_path / "run" / "mine")
    assert after.card.name == "mine"
    assert after.card.examples[0] == "blue"
    assert torch.equal(after.schedule.betas, before.schedule.betas)
    assert after.schedule.prediction == "eps"
    assert after.text_encoder.tokenizer.get_vocab() == before.text_encoder.tokenizer.get_vocab()
    for part in ("unet", "text_encoder"):
        old, new = getattr(before, part).state_dict(), getattr(after, part).state_dict()
        moved = [float((new[name] - old[name]).abs().max()) for name in old]
        assert 1e-4 < max(moved) < 0.1
    kept = after.autoencoder.state_dict()
    for name, weight in before.autoencoder.state_dict().items():
        torch.testing.assert_close(kept[name], weight, rtol=1e-3, atol=1e-3)
    assert after.generate(TextToImage(prompt="blue", num_steps=1)).shape == (1, 32, 32, 3)


def test_without_a_model_to_start_from_an_autoencoder_is_needed(folder: Path, tmp_path: Path) -> None:
    values = {"preset": "cpu", "images": "pictures", "num_steps": 1, "batch_size": 2, "learning_rate": 1e-3}
    path = write(tmp_path / "run.toml", **values)
    assert read_config(path, DiffusionTraining).full_mask_share == 0.75
    with pytest.raises(ValueError, match="an autoencoder must be given"):
        train_diffusion(path, Run(tmp_path / "run", CPU, lambda _: None), None, name="x")
