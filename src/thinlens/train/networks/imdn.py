"""IMDN: each block keeps a quarter of its features four times over, weighs them by their contrast, and adds its input.

Source: Hui et al., Lightweight Image Super-Resolution with Information Multi-distillation Network, ACM MM 2019,
section 3.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.model.ops import PadMode
from thinlens.train.blocks.attention import ContrastAttention
from thinlens.train.blocks.conv import SLOPE, same_conv
from thinlens.train.blocks.trunk import Trunk
from thinlens.train.ops import Add, ChannelSlice, Concat, LeakyRelu

BLOCKS, WIDTH = 6, 64


@dataclass(frozen=True)
class ImdnConfig:
    """Configuration of IMDN.

    Args:
        scale: 2, 3 or 4.
        width: feature channels, at least 2; 64 in the paper.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    scale: int
    width: int = WIDTH
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 3

    @property
    def name(self) -> str:
        """Such as ``imdn_x4``, or ``imdn_w32_x4`` where the width is not the paper's."""
        return f"imdn{'' if self.width == WIDTH else f'_w{self.width}'}_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        blocks = [DistillationBlock(self.width, self.pad_mode) for _ in range(BLOCKS)]
        return Trunk(blocks, self.width, self.scale, self.pad_mode, collect=True)


class DistillationBlock(nn.Module):
    """Four 3x3 convolutions; a quarter of what each of the first three makes is kept, the rest goes on."""

    def __init__(self, width: int, pad_mode: PadMode) -> None:
        super().__init__()
        kept = max(1, width // 4)
        rest = width - kept
        sizes = [(width, width), (rest, width), (rest, width), (rest, kept)]
        self.convs = nn.ModuleList(same_conv(*size, 3, pad_mode) for size in sizes)
        self.keep, self.rest = ChannelSlice(start=0, stop=kept), ChannelSlice(start=kept, stop=width)
        self.concat, self.activation, self.add = Concat(count=4), LeakyRelu(slope=SLOPE), Add()
        self.attention = ContrastAttention(4 * kept, max(1, kept // 4))
        self.mix = same_conv(4 * kept, width, 1, pad_mode)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``."""
        kept, x = [], features
        for conv in self.convs[:-1]:
            made = self.activation(conv(x))
            kept.append(self.keep(made))
            x = self.rest(made)
        distilled = self.concat(*kept, self.convs[-1](x))
        return self.add(self.mix(self.attention(distilled)), features)  # type: ignore[no-any-return]
