"""The UNet computes what diffusers computes with the same weights, over every block type we build."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from models.checkpoints.diffusers_config import read_unet, write_unet
from models.config import PRESETS, UNetConfig
from models.networks.layers import timestep_embedding
from models.networks.unet import UNet
from tests.models.conftest import TEXT_WIDTH, small_unet

KINDS = {
    "stable diffusion 1": small_unet(),
    "stable diffusion 2: linear projections, heads a level": small_unet(linear_projection=True, heads=(2, 4)),
    "inpaint: nine channels": small_unet(in_channels=9),
    "upscaler: seven channels, noise level, cross-attention only": small_unet(
        in_channels=7,
        channels=(32, 64, 64),
        attention=(False, True, True),
        heads=(4, 4, 4),
        only_cross_attention=(True, True, False),
        num_class_embeds=100,
        linear_projection=True,
    ),
    "three levels, one layer, two transformers deep": small_unet(
        channels=(32, 32, 64),
        attention=(False, True, True),
        heads=(1, 2, 2),
        layers_per_block=1,
        transformer_depth=(1, 2, 1),
    ),
    "storybook": PRESETS["cpu"].unet,
    "storybook for GPUs": PRESETS["gpu"].unet,
}

# As published; only the keys that shape the network.
REAL = {
    "stable diffusion 1.5": {"attention_head_dim": 8, "cross_attention_dim": 768},
    "stable diffusion 2.1": {
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    },
    "stable diffusion inpainting": {"attention_head_dim": 8, "cross_attention_dim": 768, "in_channels": 9},
    "stable diffusion x4 upscaler": {
        "attention_head_dim": 8,
        "block_out_channels": [256, 512, 512, 1024],
        "cross_attention_dim": 1024,
        "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 3,
        "up_block_types": ["CrossAttnUpBlock2D"] * 3 + ["UpBlock2D"],
        "in_channels": 7,
        "num_class_embeds": 1000,
        "only_cross_attention": [True, True, True, False],
        "use_linear_projection": True,
    },
}
REAL_DEFAULTS = {
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}


def theirs(config: UNetConfig) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_config(write_unet(config, sample_size=8)).eval()


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", [(8, 8), (9, 13)], ids=["even", "odd"])
@torch.no_grad()
def test_unet_agrees_with_diffusers(config: UNetConfig, size: tuple[int, int]) -> None:
    oracle, unet = theirs(config), UNet(config).eval()
    unet.load_state_dict(oracle.state_dict())
    x = torch.randn(2, config.in_channels, *size)
    timesteps = torch.tensor([3.5, 999.0])
    text = torch.randn(2, 7, config.cross_attention_dim)
    labels = torch.tensor([20, 5]) if config.num_class_embeds else None
    expected = oracle(x, timesteps, text, class_labels=labels).sample
    torch.testing.assert_close(unet(x, timesteps, text, labels), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("published", REAL.values(), ids=REAL)
def test_real_sizes_have_the_same_keys_and_shapes_as_diffusers(published: dict[str, object]) -> None:
    with torch.device("meta"):
        oracle = UNet2DConditionModel.from_config(REAL_DEFAULTS | published)
        unet = UNet(read_unet(REAL_DEFAULTS | published))
    shapes = {name: tensor.shape for name, tensor in unet.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in oracle.state_dict().items()}


def test_a_config_survives_the_way_into_a_file_and_back() -> None:
    for config in KINDS.values():
        assert read_unet(write_unet(config, sample_size=8)) == config


def test_class_labels_are_refused_by_a_model_without_them_and_demanded_by_one_with_them() -> None:
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor([1.0]), torch.randn(1, 3, TEXT_WIDTH)
    with pytest.raises(ValueError, match="class_labels"):
        UNet(small_unet())(x, t, text, torch.tensor([1]))
    with pytest.raises(ValueError, match="class_labels"):
        UNet(small_unet(num_class_embeds=10))(x, t, text)


def test_an_embedding_of_odd_width_is_refused_with_its_width() -> None:
    with pytest.raises(ValueError, match="got 7"):
        timestep_embedding(torch.tensor([1.0]), 7)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"heads": (2,)}, "heads"), ({"heads": (3, 2)}, "got 32 for 3 heads"), ({"channels": (30, 64)}, "got 30")],
)
def test_a_config_that_makes_no_network_says_why(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        small_unet(**changes)
