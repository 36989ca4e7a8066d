"""RepRFN: the strongest small network here, trained as many paths and run as one convolution where they were.

It is RFN (`thinlens.train.networks.rfn`) with what its authors found redundant left out, the 1x1 convolution of each
block and two of the attention's three 3x3 ones, and with the first three convolutions of each block trained through
nine paths (`thinlens.train.blocks.rep_conv`). Lowering fuses them.

The map of the method: blocks of two forms `train/blocks/rep_conv.py`, fusing and re-expanding any network
`train/compress/fuse.py`, the search for redundancy `train/compress/sensitivity.py`, the Fourier loss
`train/losses/fourier.py`, weights `recipes/rep_rfn_*.toml`.

Source: Deng, Yuan, Deng, Lu, Reparameterized Residual Feature Network for Lightweight Image Super-Resolution, CVPRW
2023, section 3.2.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from thinlens.train.blocks.conv import same_conv
from thinlens.train.blocks.rep_conv import BRANCHES, Branch, RepConv
from thinlens.train.blocks.trunk import Trunk
from thinlens.train.networks.rfn import BLOCKS, WIDTH, ResidualFeatureBlock, RfnConfig


@dataclass(frozen=True)
class RepRfnConfig:
    """Configuration of RepRFN.

    Args:
        scale: 2, 3, 4 or 8.
        width: feature channels; 48 in the paper.
        branches: the paths of each RepBlock; all nine in the paper.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    scale: int
    width: int = WIDTH
    branches: tuple[Branch, ...] = BRANCHES
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 3

    @property
    def name(self) -> str:
        """Such as ``rep_rfn_x4``, or ``rep_rfn_w16_x4`` where the width is not the paper's."""
        return f"rep_rfn{'' if self.width == WIDTH else f'_w{self.width}'}_x{self.scale}"

    def create(self) -> nn.Module:
        """The network in its train form, initialised as published."""
        form = RfnConfig(self.scale, block="rfb1", width=self.width, mix=False, esa="reduced", pad_mode=self.pad_mode)
        blocks = []
        for _ in range(BLOCKS):
            convs: list[nn.Module] = [same_conv(self.width, self.width, 3, self.pad_mode) for _ in range(4)]
            convs[:3] = [RepConv(conv.op, self.branches) for conv in convs[:3]]  # type: ignore[arg-type]
            blocks.append(ResidualFeatureBlock(form, convs))
        return Trunk(blocks, self.width, self.scale, self.pad_mode, collect=False)
