"""DnCNN: plain 3x3 convolutions at full size that predict what is to be taken away: noise, or JPEG artifacts.

Without batch norm, which a trained network folds into its convolutions anyway.

Without batch norm, and without skips, torch's own start does not learn in twenty convolutions, nor does He's: what gets
through them all is next to nothing, or the same for every image. This one begins linear, channels in pairs of opposite
sign.

Source: Zhang et al., Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising, IEEE Transactions
on Image Processing, 2017, section III; depths and biases as in Xia et al., Basic Binary Convolution Unit for Binarized
Image Restoration Network, ICLR 2023, section 4; the start: Balduzzi et al., The Shattered Gradients Problem, ICML 2017,
section 4.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.train.ops import Add, Conv2d, Relu

NOISE = 0.2  # share of torch's own weights that the start keeps, so that the pairs can part


@dataclass(frozen=True)
class DncnnConfig:
    """Configuration of DnCNN.

    Args:
        depth: convolutions, head and tail among them, >= 2.
        width: channels between them.
        task: ``denoise`` or ``deblock``; deblockers restore luma.
        gray: whether a denoiser restores luma instead of RGB.
        pad_mode: ``edge`` for our own, ``zero`` as published.
    """

    depth: int
    width: int
    task: Literal["denoise", "deblock"]
    gray: bool = False
    pad_mode: Literal["edge", "zero"] = "edge"
    scale: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``dncnn_d20_w64_denoise``, ``dncnn_d17_w64_denoise_gray`` and ``dncnn_d20_w12_deblock``."""
        gray = "_gray" if self.gray and self.task == "denoise" else ""
        return f"dncnn_d{self.depth}_w{self.width}_{self.task}{gray}"

    @property
    def channels(self) -> int:
        """Of the images: 1 (luma) or 3 (RGB)."""
        return 1 if self.gray or self.task == "deblock" else 3

    @property
    def bias(self) -> bool:
        """Whether convolutions have biases. Without, an image half as bright, noise and all, gives half the result."""
        return self.task == "deblock"

    def create(self) -> nn.Module:
        """The network, initialised so that its convolutions hand on what they get."""
        return Dncnn(self)


class Dncnn(nn.Module):
    """``N C H W`` in 0..1, or around it, -> the same without what the network takes for damage."""

    def __init__(self, config: DncnnConfig) -> None:
        super().__init__()
        widths = [config.channels, *[config.width] * (config.depth - 1), config.channels]
        convs = (_conv(a, b, config) for a, b in pairwise(widths))
        layers: list[nn.Module] = [next(convs)]
        for conv in convs:
            layers += [Relu(), conv]
        self.body = nn.Sequential(*layers)
        self.subtract = Add(b=-1.0)
        _begin_linear([layer for layer in layers[:-1] if isinstance(layer, Conv2d)])

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``."""
        return self.subtract(lq, self.body(lq))  # type: ignore[no-any-return]


def _conv(channels: int, out: int, config: DncnnConfig) -> Conv2d:
    size = {"kernel": (3, 3), "padding": (1, 1)}
    return Conv2d(in_channels=channels, out_channels=out, pad_mode=config.pad_mode, bias=config.bias, **size)


@torch.no_grad()
def _begin_linear(convs: list[Conv2d]) -> None:
    """Make a channel ``z`` a pair, ``relu(z)`` and ``relu(-z)``, from which the next convolution has ``z`` back.

    All convolutions but the tail are together an orthogonal matrix on pixels, up to `NOISE`.

    Args:
        convs: those before a ReLU, in order.
    """
    for conv in convs:
        weight = conv.weight.mul_(NOISE)
        if conv.op.bias:
            conv.bias.zero_()
        out, inside = weight.shape[0] // 2, weight.shape[1]
        first = conv is convs[0]
        mixed = nn.init.orthogonal_(torch.empty(out, inside if first else inside // 2))
        seen = mixed if first else torch.cat([mixed, -mixed], dim=1)
        weight[: 2 * out, : seen.shape[1], 1, 1] += torch.cat([seen, -seen])
