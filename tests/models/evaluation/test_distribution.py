"""FID and its kin on own features: what is alike scores as alike, and each figure falls for what it is about."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import CheckpointError
from models.evaluation.classifier import BUNDLED_CLASSIFIER, SceneClassifier, load_classifier, save_classifier
from models.evaluation.distribution import resemblance, share_inside
from models.training.classifier import ClassifierObjective, measure_accuracy
from models.training.config import ClassifierTraining
from models.training.pictures import render, sample
from models.training.recipes import Run, train_classifier
from models.training.scenes import draw_scene
from models.training.stages import STAGES

CPU = torch.device("cpu")
CONFIG = ClassifierTraining(preset="cpu", scenes="a", num_steps=1, batch_size=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def classifier() -> SceneClassifier:
    return load_classifier(BUNDLED_CLASSIFIER)


def scenes(first: int, count: int) -> np.ndarray:
    return np.stack([sample(first + seed, STAGES["a"], 64, "train").picture for seed in range(count)])


def test_the_bundled_classifier_names_fresh_scenes(classifier: SceneClassifier) -> None:
    objective = ClassifierObjective(replace(CONFIG, seed=7), CPU)
    assert measure_accuracy(objective, classifier, 300) >= 0.95


def test_other_scenes_of_the_kind_are_alike_and_spoilt_or_few_kinds_less_so(classifier: SceneClassifier) -> None:
    real, others = scenes(0, 200), scenes(1000, 200)
    alike = resemblance(classifier, others, real)
    noise = np.random.default_rng(0).normal(0, 120, others.shape)
    spoilt = resemblance(classifier, np.clip(others + noise, 0, 255).astype(np.uint8), real)
    foxes = [draw_scene(seed, STAGES["a"], "train") for seed in range(5000, 8000)]
    foxes = [scene for scene in foxes if scene.items[0].thing.name in ("fox", "owl")][:200]
    few = resemblance(classifier, np.stack([render(scene, 64) for scene in foxes]), real)
    for worse in (spoilt, few):
        assert alike.fid < worse.fid / 2
        assert alike.kid < worse.kid / 3
    assert alike.precision > 0.8
    assert alike.recall > 0.8
    assert few.recall < 0.5
    assert few.inception_score < 3 < alike.inception_score
    assert (alike.n, alike.m) == (200, 200)


def test_the_same_picture_again_and_again_is_precise_and_recalls_nothing(classifier: SceneClassifier) -> None:
    real = scenes(0, 120)
    collapsed = resemblance(classifier, np.repeat(real[:1], 120, axis=0), real)
    varied = resemblance(classifier, scenes(1000, 120), real)
    assert collapsed.precision == 1.0
    assert collapsed.recall < 0.1
    assert collapsed.inception_score == pytest.approx(1.0, abs=0.01)
    assert varied.inception_score > 3


def test_a_point_is_inside_if_it_is_as_near_as_the_third_neighbour() -> None:
    line = torch.arange(10.0)[:, None]  # the third neighbour of an inner point is 2 away, of an end 3
    assert share_inside(torch.tensor([[4.5], [11.9], [12.1], [-4.0]]), line) == 0.5


def test_too_few_pictures_are_refused(classifier: SceneClassifier) -> None:
    with pytest.raises(ValueError, match="at least 8 pictures of a kind are needed, got 4 and 9"):
        resemblance(classifier, scenes(0, 4), scenes(0, 9))


def test_from_a_config_file_to_a_classifier_that_is_read_back(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('preset = "cpu"\nscenes = "a"\nnum_steps = 2\nbatch_size = 4\nlearning_rate = 1e-3\n')
    share = train_classifier(config, Run(tmp_path / "run", CPU, lambda _: None))
    assert 0.0 <= share <= 1.0
    loaded = load_classifier(tmp_path / "run" / "classifier.safetensors")
    assert loaded.things == tuple(thing.name for thing in STAGES["a"].things)
    save_classifier(loaded, tmp_path / "again.safetensors")
    again = load_classifier(tmp_path / "again.safetensors").state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in loaded.state_dict().items())
    (tmp_path / "again.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"again.safetensors is no classifier"):
        load_classifier(tmp_path / "again.safetensors")


def test_only_stages_of_single_things_can_be_named() -> None:
    with pytest.raises(ValueError, match="must be a stage of single things, got 'b'"):
        replace(CONFIG, scenes="b")
