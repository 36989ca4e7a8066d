"""RFN: RFDN's distillation replaced by plain 3x3 convolutions and sums.

The residual feature block in the four ways that its paper compares:

    plain   four 3x3 convolutions, a 1x1 convolution, attention
    rfb1    and the block's input added after the four (local skip)
    rfb2    and the block's input added to the result (global skip)
    rfb3    both

The figures of the paper fix the parameters and hardly the places of the skips; ``skip = "each"`` is the other reading
of the local one, a skip around each 3x3 convolution. Without the 1x1 (``mix``) and with the reduced attention, rfb1 is
the inference form of RepRFN (`thinlens.train.networks.rep_rfn`).

Source: Deng et al., Reparameterized Residual Feature Network for Lightweight Image Super-Resolution, CVPRW 2023,
section 3.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.train.blocks.attention import EsaForm, SpatialAttention
from thinlens.train.blocks.conv import SLOPE, same_conv
from thinlens.train.blocks.trunk import Trunk
from thinlens.train.ops import Add, LeakyRelu

BLOCKS, WIDTH = 4, 48

Block = Literal["plain", "rfb1", "rfb2", "rfb3"]


@dataclass(frozen=True)
class RfnConfig:
    """Configuration of RFN.

    Args:
        scale: 2, 3, 4 or 8.
        block: which skips a block has.
        width: feature channels; 48 in the paper. The attention has a third of them inside.
        skip: the local skip, around the four convolutions (``block``) or around ``each``.
        mix: whether a 1x1 convolution stands before the attention.
        esa: form of the attention.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    scale: int
    block: Block = "rfb1"
    width: int = WIDTH
    skip: Literal["block", "each"] = "block"
    mix: bool = True
    esa: EsaForm = "original"
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 3

    @property
    def name(self) -> str:
        """Such as ``rfn_rfb1_x4``; ``rfn_rfb1_each_unmixed_reduced_w16_x4`` with everything changed."""
        changed = {
            "each": self.skip == "each",
            "unmixed": not self.mix,
            self.esa: self.esa != "original",
            f"w{self.width}": self.width != WIDTH,
        }
        return "_".join(["rfn", self.block, *(word for word, said in changed.items() if said), f"x{self.scale}"])

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        blocks = []
        for _ in range(BLOCKS):
            convs = [same_conv(self.width, self.width, 3, self.pad_mode) for _ in range(4)]
            blocks.append(ResidualFeatureBlock(self, convs))
        return Trunk(blocks, self.width, self.scale, self.pad_mode, collect=False)


class ResidualFeatureBlock(nn.Module):
    """Four 3x3 convolutions and attention.

    Args:
        config: says which skips there are, and whether a 1x1 convolution.
        convs: each keeps size and channels; a leaky ReLU follows each.
    """

    def __init__(self, config: RfnConfig, convs: Iterable[nn.Module]) -> None:
        super().__init__()
        width = config.width
        local = config.block in ("rfb1", "rfb3")
        self.around_each = local and config.skip == "each"
        self.around_convs = local and not self.around_each
        self.around_block = config.block in ("rfb2", "rfb3")
        self.convs = nn.ModuleList(convs)
        self.mix = same_conv(width, width, 1, config.pad_mode) if config.mix else None
        self.attention = SpatialAttention(width, max(1, width // 3), config.esa, config.pad_mode)
        self.activation, self.add = LeakyRelu(slope=SLOPE), Add()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``; H and W at least 15."""
        x = features
        for conv in self.convs:
            x = self.activation(self.add(conv(x), x) if self.around_each else conv(x))
        if self.around_convs:
            x = self.add(x, features)
        if self.mix is not None:
            x = self.mix(x)
        weighed: torch.Tensor = self.attention(x)
        return self.add(weighed, features) if self.around_block else weighed
