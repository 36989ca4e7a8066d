"""The U-shaped network that LineDL is compared with: five levels of 32 to 512 channels.

Two 3x3 convolutions with leaky ReLU a level, 2x2 max-pooling down, 2x2 transposed convolutions up, the features of the
way down beside those of the way up, 1x1 at the end. What it gives is taken from the input, as in the other denoisers
here; the original gave the image itself, from raw pixels.

Source: Chen, Chen, Xu, Koltun, Learning to See in the Dark, CVPR 2018, section 4; that LineDL means this one follows
from the sizes that it states.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.train.blocks.conv import same_conv
from thinlens.train.ops import Add, Concat, ConvTranspose2d, LeakyRelu, MaxPool

LEVELS, WIDTH, SLOPE = 5, 32, 0.2


@dataclass(frozen=True)
class UnetConfig:
    """Configuration of the U-shaped denoiser.

    Args:
        width: channels of the first level; 32 in the paper.
        channels: of the images, 1 or 3.
        pad_mode: of the convolutions; ``zero`` in the paper.
    """

    width: int = WIDTH
    channels: Literal[1, 3] = 3
    pad_mode: Literal["edge", "zero"] = "edge"
    scale: ClassVar[int] = 1
    task: ClassVar[Literal["denoise"]] = "denoise"

    @property
    def name(self) -> str:
        """``unet_denoise``, or ``unet_denoise_w8`` where the width is not the paper's."""
        return "unet_denoise" + (f"_w{self.width}" if self.width != WIDTH else "")

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        return Unet(self)


class Unet(nn.Module):
    """``N C H W`` in 0..1 -> ``N C H W``; H and W multiples of 16."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        self.scale = config.scale
        widths = [config.width << level for level in range(LEVELS)]
        before = [config.channels, *widths]
        self.down = nn.ModuleList(
            _Level(inside, out, config.pad_mode) for inside, out in zip(before, widths, strict=False)
        )
        self.pool = MaxPool(kernel=(2, 2), stride=2)
        self.enlarge = nn.ModuleList(
            ConvTranspose2d(in_channels=2 * width, out_channels=width, kernel=(2, 2), stride=2, bias=True)
            for width in reversed(widths[:-1])
        )
        self.concat = Concat(count=2)
        self.up = nn.ModuleList(_Level(2 * width, width, config.pad_mode) for width in reversed(widths[:-1]))
        self.tail = same_conv(config.width, config.channels, 1, config.pad_mode)
        self.subtract = Add(b=-1.0)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """The noise is found and taken away."""
        features, kept = lq, []
        for level in self.down:
            features = level(features if features is lq else self.pool(features))
            kept.append(features)
        kept.pop()
        for enlarge, level in zip(self.enlarge, self.up, strict=True):
            features = level(self.concat(enlarge(features), kept.pop()))
        return self.subtract(lq, self.tail(features))  # type: ignore[no-any-return]


class _Level(nn.Module):
    """Two convolutions."""

    def __init__(self, channels: int, out: int, pad_mode: Literal["edge", "zero"]) -> None:
        super().__init__()
        self.first, self.second = same_conv(channels, out, 3, pad_mode), same_conv(out, out, 3, pad_mode)
        self.activation = LeakyRelu(slope=SLOPE)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N channels H W`` -> ``N out H W``."""
        return self.activation(self.second(self.activation(self.first(features))))  # type: ignore[no-any-return]
