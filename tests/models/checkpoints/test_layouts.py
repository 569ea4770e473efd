"""The many ways in which people's folders hold the same weights, and what is said where they do not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer
from typer.testing import CliRunner

from models import CheckpointError, Pipeline, load_pipeline
from models.checkpoints.description import describe
from models.checkpoints.tokenizer import load_tokenizer
from models.checkpoints.weights import load_weights, weight_files
from models.cli import cli
from tests.models.checkpoints import miniatures

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(written: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of Stable Diffusion 1 that a test may spoil."""
    return Path(shutil.copytree(written["sd1"], tmp_path / "sd1"))


def same(one: Pipeline, other: Pipeline, *, tolerance: float = 0.0) -> bool:
    """Whether all three networks hold the same weights."""
    for network in ("unet", "autoencoder", "text_encoder"):
        a, b = getattr(one, network).state_dict(), getattr(other, network).state_dict()
        if a.keys() != b.keys() or any(not torch.allclose(a[key], b[key], tolerance, tolerance) for key in a):
            return False
    return True


def rename(path: Path, pairs: dict[str, str]) -> None:
    def renamed(key: str) -> str:
        for old, new in pairs.items():
            key = key.replace(old, new)
        return key

    save_file({renamed(key): tensor for key, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize(
    "options",
    [{"variant": "fp16"}, {"max_shard_size": "100KB"}, {"variant": "fp16", "max_shard_size": "100KB"}],
    ids=["fp16", "sharded", "fp16 sharded"],
)
def test_variants_and_shards_hold_the_same_weights(
    written: dict[str, Path], tmp_path: Path, options: dict[str, str]
) -> None:
    half = "variant" in options
    pipeline = miniatures.build("sd1")
    (pipeline.to(torch.float16) if half else pipeline).save_pretrained(tmp_path, **options)
    assert not (tmp_path / UNET).exists()
    assert same(load_pipeline(tmp_path), load_pipeline(written["sd1"]), tolerance=1e-3 if half else 0.0)


def test_old_prefixes_old_attention_keys_and_positions_are_read(written: dict[str, Path], folder: Path) -> None:
    words = load_file(folder / TEXT)
    bare = {key.removeprefix("text_model."): tensor for key, tensor in words.items()}
    old = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    rename(folder / VAE, old)
    assert any("proj_attn" in key for key in load_file(folder / VAE))
    expected = load_pipeline(written["sd1"])
    save_file(bare, folder / TEXT)
    assert same(load_pipeline(folder), expected)
    positions = {"text_model.embeddings.position_ids": torch.arange(miniatures.CONTEXT)[None]}
    save_file({f"text_model.{key}": tensor for key, tensor in bare.items()} | positions, folder / TEXT)
    assert same(load_pipeline(folder), expected)


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
def test_vocab_and_merges_make_the_tokenizer_that_transformers_makes(
    written: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    source = written[kind] / "tokenizer"
    theirs = CLIPTokenizer.from_pretrained(source, local_files_only=True)
    model = json.loads((source / "tokenizer.json").read_text())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    mark = {"content": theirs.pad_token, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": mark}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<|endoftext|>"}))
    for ours in (load_tokenizer(source), load_tokenizer(tmp_path)):
        assert ours.pad_token_id == theirs.pad_token_id
        for text in ("a fox in the snow!!", "", "Zebra's 42 狐\n\tñ", "<|endoftext|> a # fox", "don't"):
            assert ours(text)["input_ids"] == theirs(text)["input_ids"]


def test_a_list_of_the_likely_causes(folder: Path) -> None:
    honest = load_file(folder / UNET)
    network = load_pipeline(folder).unet
    sample = torch.zeros(1)
    causes = {
        "a single-file checkpoint": {f"model.diffusion_model.{key}": tensor for key, tensor in honest.items()},
        "a LoRA": {"unet.down_blocks.0.attn1.to_q.lora_A.weight": sample},
        "layout of CompVis": {"input_blocks.0.0.weight": sample},
        "Keys are only missing": {key: honest[key] for key in sorted(honest)[1:]},
        "Only the input channels differ": honest | {"conv_in.weight": torch.zeros(32, 9, 3, 3)},
        "quantised": honest | {"conv_in.weight": honest["conv_in.weight"].to(torch.int8)},
    }
    for said, tensors in causes.items():
        save_file(tensors, folder / UNET)
        with pytest.raises(CheckpointError, match=said):
            load_weights(network, [folder / UNET])


def test_an_index_of_another_variant_says_what_is_there(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors")
    with pytest.raises(CheckpointError, match=r"only diffusion_pytorch_model\.non_ema\.safetensors"):
        weight_files(folder / "unet", "diffusion_pytorch_model")
    index = {"weight_map": {"conv_in.weight": "diffusion_pytorch_model.fp16-00001-of-00002.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="index is that of another variant"):
        weight_files(folder / "unet", "diffusion_pytorch_model")


def test_a_pipeline_that_is_not_built_is_named(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(CheckpointError, match="got 'StableDiffusionXLPipeline'"):
        load_pipeline(folder)


def test_inspect_describes_without_reading_a_weight(written: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(torch.nn.Module, "to_empty", refuse)
    monkeypatch.setattr("models.checkpoints.weights.read_weights", refuse)
    told = {kind: dict(describe(path).facts) for kind, path in written.items()}
    assert all(describe(path).problems == [] for path in written.values())
    assert told["sd1"]["unet"].startswith("4 -> 4 channels, levels (32, 64); F32, ")
    assert "PNDMScheduler; ddim" in told["sd1"]["note"]
    assert "predicts v" in told["sd2"]["schedule"]
    assert "23 layers" in told["sd2"]["text_encoder"]
    assert told["inpainting"]["unet"].startswith("9 -> 4")
    assert told["upscaler"]["low_res"] == "T = 1000, noise levels 0..350"
    assert told["upscaler"]["tasks"] == "super_resolution"


def test_inspect_goes_on_after_what_is_broken_and_says_what_it_is(folder: Path) -> None:
    (folder / "vae" / "config.json").write_text("{")
    (folder / UNET).unlink()
    description = describe(folder)
    assert [problem.split(":")[0] for problem in description.problems] == ["vae", "unet"]
    assert dict(description.facts)["unet"] == "4 -> 4 channels, levels (32, 64)"
    result = CliRunner().invoke(cli, ["inspect", str(folder)])
    assert result.exit_code == 1
    assert "broken        vae" in result.output
    assert describe(folder / TEXT).problems[0].endswith("It looks like a text encoder")
    (folder / "model.ckpt").touch()
    assert "is a pickle" in describe(folder / "model.ckpt").problems[0]
