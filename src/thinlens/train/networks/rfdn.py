"""RFDN: each block keeps half of its features by 1x1 convolutions, four times over, and refines them in between.

Source: Liu, Tang, Wu, Residual Feature Distillation Network for Lightweight Image Super-Resolution, ECCVW 2020,
section 3, in the form that was published with its weights (E-RFDN, entered in AIM 2020): four blocks of 50 channels, no
skip around a block. Its retraining with 48 channels is the RFDN* of Deng et al., Reparameterized Residual Feature
Network, CVPRW 2023, table 1.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.model.ops import PadMode
from thinlens.train.blocks.attention import EsaForm, SpatialAttention
from thinlens.train.blocks.conv import SLOPE, same_conv
from thinlens.train.blocks.trunk import Trunk
from thinlens.train.ops import Add, Concat, LeakyRelu

BLOCKS, WIDTH = 4, 50


@dataclass(frozen=True)
class RfdnConfig:
    """Configuration of RFDN.

    Args:
        scale: 2, 3 or 4.
        width: feature channels; 50 as published.
        esa: form of the attention; ``original`` as published.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    scale: int
    width: int = WIDTH
    esa: EsaForm = "original"
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 3

    @property
    def name(self) -> str:
        """Such as ``rfdn_x4``; ``rfdn_reduced_w48_x4`` with the reduced attention and another width."""
        esa = "" if self.esa == "original" else f"_{self.esa}"
        return f"rfdn{esa}{'' if self.width == WIDTH else f'_w{self.width}'}_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        blocks = [ResidualDistillationBlock(self.width, self.esa, self.pad_mode) for _ in range(BLOCKS)]
        return Trunk(blocks, self.width, self.scale, self.pad_mode, collect=True)


class ResidualDistillationBlock(nn.Module):
    """Three times: half of the features kept by a 1x1 convolution, all refined by a 3x3 one with a skip around it."""

    def __init__(self, width: int, esa: EsaForm, pad_mode: PadMode) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.distil = nn.ModuleList(same_conv(width, half, 1, pad_mode) for _ in range(3))
        self.refine = nn.ModuleList(same_conv(width, width, 3, pad_mode) for _ in range(3))
        self.last = same_conv(width, half, 3, pad_mode)
        self.mix = same_conv(4 * half, width, 1, pad_mode)
        self.attention = SpatialAttention(width, max(1, width // 4), esa, pad_mode)
        self.concat, self.activation, self.add = Concat(count=4), LeakyRelu(slope=SLOPE), Add()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``; H and W at least 15."""
        kept, x = [], features
        for distil, refine in zip(self.distil, self.refine, strict=True):
            kept.append(self.activation(distil(x)))
            x = self.activation(self.add(refine(x), x))
        kept.append(self.activation(self.last(x)))
        return self.attention(self.mix(self.concat(*kept)))  # type: ignore[no-any-return]
