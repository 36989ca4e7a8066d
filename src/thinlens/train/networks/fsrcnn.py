"""FSRCNN: shrink, map, expand at input resolution, and one transposed convolution at the end.

Source: Dong, Loy, Tang, Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016, section 3;
one shared slope a PReLU, as in the edge-SR pool.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.train.blocks.conv import same_conv
from thinlens.train.ops import ConvTranspose2d, PRelu


@dataclass(frozen=True)
class FsrcnnConfig:
    """Configuration of FSRCNN.

    Args:
        width: D, channels of the first and the last but one layer.
        shrink: S, channels of the mapping layers.
        depth: M, mapping layers.
        scale: 2, 3 or 4; the parameter count does not depend on it.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    width: int
    shrink: int
    depth: int
    scale: int
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``fsrcnn_d32_s6_m4_x2``."""
        return f"fsrcnn_d{self.width}_s{self.shrink}_m{self.depth}_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        return Fsrcnn(self)


class Fsrcnn(nn.Module):
    """``N 1 H W`` luma in 0..1 -> ``N 1 sH sW``."""

    def __init__(self, config: FsrcnnConfig) -> None:
        super().__init__()
        self.scale = config.scale
        d, s = config.width, config.shrink
        sizes = [(1, d, 5), (d, s, 1), *[(s, s, 3)] * config.depth, (s, d, 1)]
        layers = [layer for size in sizes for layer in (same_conv(*size, config.pad_mode), PRelu())]
        self.body = nn.Sequential(*layers)
        side = (8 - config.scale) // 2 + 1
        self.tail = ConvTranspose2d(
            in_channels=d,
            out_channels=1,
            kernel=(9, 9),
            stride=config.scale,
            padding=(side, side),
            output_padding=(config.scale + 1) % 2,
            pad_mode=config.pad_mode,
            bias=True,
        )

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        return self.tail(self.body(lq))  # type: ignore[no-any-return]
