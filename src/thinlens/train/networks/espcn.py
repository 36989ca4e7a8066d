"""ESPCN: a small network at input resolution, and a pixel shuffle.

In the form of the edge-SR pool: tanh between the layers and a final sigmoid.

Source: Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, CVPR 2016; sizes
and activations as in Navarrete Michelini, Lu, Jiang, edge-SR, WACV 2022, section 4.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.train.ops import Conv2d, PixelShuffle, Sigmoid, Tanh


@dataclass(frozen=True)
class EspcnConfig:
    """Configuration of ESPCN.

    Args:
        width: D, channels of the 5x5 layer; 0 leaves it out, and a 3x3 layer comes first.
        shrink: S, channels of the 3x3 layer.
        scale: 2, 3, 4 or 8.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    width: int
    shrink: int
    scale: int
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``espcn_d16_s32_x2``."""
        return f"espcn_d{self.width}_s{self.shrink}_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        return Espcn(self)


class Espcn(nn.Module):
    """``N 1 H W`` luma in 0..1 -> ``N 1 sH sW``, within (0, 1)."""

    def __init__(self, config: EspcnConfig) -> None:
        super().__init__()
        self.scale = config.scale
        layers: list[nn.Module] = []
        channels = 1
        sizes = [(config.width, 5)] if config.width else []
        for out, kernel in [*sizes, (config.shrink, 3), (config.scale**2, 3)]:
            side = kernel // 2
            layers += [
                Conv2d(
                    in_channels=channels,
                    out_channels=out,
                    kernel=(kernel, kernel),
                    padding=(side, side),
                    pad_mode=config.pad_mode,
                    bias=True,
                ),
                Tanh(),
            ]
            channels = out
        self.body = nn.Sequential(*layers[:-1])
        self.shuffle, self.sigmoid = PixelShuffle(scale=config.scale), Sigmoid()

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        return self.sigmoid(self.shuffle(self.body(lq)))  # type: ignore[no-any-return]
