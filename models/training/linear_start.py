"""An autoencoder that begins as principal components of 4x4 squares, enlarged bilinearly: nothing linear is learned.

Squares cut out of pictures are often of nearly one colour, and GroupNorm takes away just that: how bright, how
strong. From random weights thousands of steps go by until colours are right. Here the networks begin as linear maps
that keep them, with the layers that they have:

- every residual branch begins at zero (Zhang et al. 2019, "Fixup"), so the identity path is all there is;
- two channels of every width carry +-CONSTANT everywhere, so the norms hardly depend on the picture;
- silu(a) - silu(-a) = a, so a pair of channels passes an activation unchanged.

Axes: c colours, k components, y x rows and columns of a square (pixels).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.autoencoder import Autoencoder

CONSTANT = 8.0
_SIGNAL = 0.5  # about the mean square of what is no constant
_LOG_VARIANCE = -6.0  # of the latents at the beginning: little noise
_BILINEAR = torch.tensor([0.25, 0.5, 0.25])  # after nearest: 1/4 of a neighbour, 3/4 of the own


@torch.no_grad()
def start_linear(network: Autoencoder, images: Tensor) -> None:
    """Sets the network's weights; the components are those of images (b, 3, h, w) in [-1, 1].

    Raises: ValueError unless the network halves twice, has one norm group and both 1x1 convolutions.
    """
    config = network.config
    if config.factor != 4 or config.norm_groups != 1 or network.quant_conv is None or network.post_quant_conv is None:
        raise ValueError(
            f"a linear start needs a factor of 4, norm_groups 1 and both 1x1 convolutions, "
            f"got {config.factor}, {config.norm_groups} and {config}"
        )
    mean, directions, deviations = principal_components(images, config.latent_channels)
    _quieten(network)
    _encode(network, mean, directions, deviations)
    _decode(network, mean, directions, deviations)
    for conv in (network.quant_conv, network.post_quant_conv):
        _identity(conv, conv.out_channels)


def principal_components(images: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (3, 4, 4), directions (k, 3, 4, 4) and deviations (k,) of the 4x4 squares of images (b, 3, h, w)."""
    squares = F.pixel_unshuffle(images, 4).permute(0, 2, 3, 1).reshape(-1, 48)
    mean = squares.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov(squares.T))
    largest = slice(48 - count, None)
    deviations = variances[largest].flip(0).sqrt()
    return mean.view(3, 4, 4), directions[:, largest].flip(1).T.reshape(count, 3, 4, 4), deviations


def _quieten(network: Autoencoder) -> None:
    """Residual branches at zero, constant channels everywhere, and norms that undo themselves beside them."""
    for name, module in network.named_modules():
        if isinstance(module, nn.GroupNorm):
            module.weight.fill_(math.sqrt(2.0 * CONSTANT**2 / module.num_channels + _SIGNAL))
        elif isinstance(module, nn.Conv2d) and name.endswith("conv2"):
            module.weight.zero_()
            _bias(module).zero_()
        elif isinstance(module, nn.Conv2d) and not name.endswith(("conv_out", "quant_conv")):
            module.weight[-2:] = 0.0
            _bias(module)[-2:] = torch.tensor([CONSTANT, -CONSTANT])


def _encode(network: Autoencoder, mean: Tensor, directions: Tensor, deviations: Tensor) -> None:
    encoder, count = network.encoder, len(directions)
    half, quarter = (_sampler(block, "downsamplers") for block in list(encoder.down_blocks)[:2])
    _identity(encoder.conv_in, 3)
    # pixels of 2x2 squares as channels: 4 colour + 2 row + column
    half.weight[:12], _bias(half)[:12] = 0.0, 0.0
    for channel in range(12):
        half.weight[channel, channel // 4, channel // 2 % 2, channel % 2] = 1.0
    _identity(_shortcut(encoder.down_blocks[1]), 12)
    quarter.weight[:count] = 0.0
    for colour in range(3):
        for y in range(4):
            for x in range(4):
                channel = 4 * colour + 2 * (y % 2) + x % 2
                quarter.weight[:count, channel, y // 2, x // 2] = directions[:, colour, y, x]
    _bias(quarter)[:count] = -(directions * mean).sum(dim=(1, 2, 3))
    _pairs(_shortcut(encoder.down_blocks[2]), count)
    _difference(encoder.conv_out, count, 1.0 / deviations)
    _bias(encoder.conv_out)[count:] = _LOG_VARIANCE


def _decode(network: Autoencoder, mean: Tensor, directions: Tensor, deviations: Tensor) -> None:
    decoder = network.decoder
    conv_in, blocks = decoder.conv_in, list(decoder.up_blocks)
    conv_in.weight[:3], _bias(conv_in)[:3] = 0.0, mean.mean(dim=(1, 2))
    conv_in.weight[:3, :, 1, 1] = directions.mean(dim=(2, 3)).T * deviations
    for block in blocks[:2]:
        conv = _sampler(block, "upsamplers")
        conv.weight[:3], _bias(conv)[:3] = 0.0, 0.0
        for colour in range(3):
            conv.weight[colour, colour] = torch.outer(_BILINEAR, _BILINEAR)
    _identity(_shortcut(blocks[1]), 3)
    _pairs(_shortcut(blocks[2]), 3)
    _difference(decoder.conv_out, 3, torch.ones(3))


def _identity(conv: nn.Conv2d, count: int) -> None:
    """The first channels pass unchanged."""
    centre = conv.kernel_size[0] // 2
    conv.weight[:count], _bias(conv)[:count] = 0.0, 0.0
    for channel in range(count):
        conv.weight[channel, channel, centre, centre] = 1.0


def _pairs(conv: nn.Conv2d, count: int) -> None:
    """The first channels, and after them the same with the other sign. 1x1."""
    _identity(conv, count)
    conv.weight[count : 2 * count], _bias(conv)[count : 2 * count] = -conv.weight[:count], 0.0


def _difference(conv: nn.Conv2d, count: int, scales: Tensor) -> None:
    """silu(a) - silu(-a) of the first pairs, scaled; nothing else yet. 3x3."""
    conv.weight.zero_()
    _bias(conv).zero_()
    for channel, scale in enumerate(scales.tolist()):
        conv.weight[channel, channel, 1, 1] = scale
        conv.weight[channel, count + channel, 1, 1] = -scale


def _sampler(block: nn.Module, kind: str) -> nn.Conv2d:
    conv = getattr(block, kind)[0].conv
    assert isinstance(conv, nn.Conv2d)
    return conv


def _shortcut(block: nn.Module) -> nn.Conv2d:
    conv = block.resnets[0].conv_shortcut  # type: ignore[union-attr,index]
    assert isinstance(conv, nn.Conv2d)
    return conv


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
