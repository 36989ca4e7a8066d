"""IDN: two groups of three convolutions a block; part of the first group's features passes the second one by.

Luma in and out: the network restores what a bicubic enlargement of the input lacks.

Source: Hui, Wang, Gao, Fast and Accurate Single Image Super-Resolution via Information Distillation Network, CVPR 2018,
section 3.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.model.ops import PadMode
from thinlens.train.blocks.conv import SLOPE, same_conv
from thinlens.train.ops import Add, ChannelSlice, Concat, ConvTranspose2d, LeakyRelu, Resize

BLOCKS, WIDTH = 4, 64
KEPT = 16  # channels of the first group that pass the second one by
SIDE = 17  # of the transposed convolution's kernel


@dataclass(frozen=True)
class IdnConfig:
    """Configuration of IDN.

    Args:
        scale: 2, 3 or 4; the parameter count does not depend on it.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    scale: int
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``idn_x2``."""
        return f"idn_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        return Idn(self)


class Idn(nn.Module):
    """``N 1 H W`` luma in 0..1 -> ``N 1 sH sW``."""

    def __init__(self, config: IdnConfig) -> None:
        super().__init__()
        self.scale = s = config.scale
        self.head = nn.ModuleList(same_conv(channels, WIDTH, 3, config.pad_mode) for channels in (1, WIDTH))
        self.body = nn.ModuleList(InformationBlock(config.pad_mode) for _ in range(BLOCKS))
        self.activation, self.add = LeakyRelu(slope=SLOPE), Add()
        extra = (SIDE - s) % 2
        side = (SIDE - s + extra) // 2
        self.tail = ConvTranspose2d(
            in_channels=WIDTH,
            out_channels=1,
            kernel=(SIDE, SIDE),
            stride=s,
            padding=(side, side),
            output_padding=extra,
            pad_mode=config.pad_mode,
            bias=True,
        )
        self.enlarge = Resize(mode="bicubic", factor=s, coefficient=-0.5, border="symmetric")

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        x = lq
        for conv in self.head:
            x = self.activation(conv(x))
        for block in self.body:
            x = block(x)
        return self.add(self.tail(x), self.enlarge(lq))  # type: ignore[no-any-return]


class InformationBlock(nn.Module):
    """Enhancement (two groups of three 3x3 convolutions) and compression (1x1)."""

    def __init__(self, pad_mode: PadMode) -> None:
        super().__init__()
        sizes = (WIDTH, 48, 32, WIDTH), (WIDTH - KEPT, 64, 48, WIDTH + KEPT)
        self.first, self.second = (_enhancement(*group, pad_mode) for group in sizes)
        self.keep, self.rest = ChannelSlice(start=0, stop=KEPT), ChannelSlice(start=KEPT, stop=WIDTH)
        self.concat, self.activation, self.add = Concat(count=2), LeakyRelu(slope=SLOPE), Add()
        self.compress = same_conv(WIDTH + KEPT, WIDTH, 1, pad_mode)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N 64 H W`` -> ``N 64 H W``."""
        first = self._enhance(self.first, features)
        second = self._enhance(self.second, self.rest(first))
        both = self.add(second, self.concat(self.keep(first), features))
        return self.activation(self.compress(both))  # type: ignore[no-any-return]

    def _enhance(self, convs: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        for conv in convs:
            x = self.activation(conv(x))
        return x


def _enhancement(channels: int, first: int, second: int, out: int, pad_mode: PadMode) -> nn.ModuleList:
    """Three convolutions, the middle one in four groups."""
    sizes = (channels, first, 1), (first, second, 4), (second, out, 1)
    return nn.ModuleList(same_conv(inside, made, 3, pad_mode, groups=groups) for inside, made, groups in sizes)
