"""The frame that IMDN, RFDN, RFN and RepRFN share: features at input size, a long skip, one pixel shuffle."""

from collections.abc import Iterable

import torch
from torch import nn

from thinlens.model.ops import PadMode
from thinlens.train.blocks.conv import SLOPE, same_conv
from thinlens.train.ops import Add, Concat, LeakyRelu, PixelShuffle


class Trunk(nn.Module):
    """``head`` (3x3), blocks in series, ``tail`` (3x3), the head's features added, ``upsampler`` (3x3), pixel shuffle.

    No activation at the end and no interpolated image added: the result may leave 0..1.

    Args:
        blocks: each ``N width H W`` -> ``N width H W``.
        width: feature channels.
        scale: 2, 3 or 4.
        pad_mode: of the 3x3 convolutions.
        collect: whether all blocks' results are concatenated and mixed by a 1x1 convolution and a leaky ReLU, or only
            the last one's goes on.
    """

    def __init__(
        self, blocks: Iterable[nn.Module], width: int, scale: int, pad_mode: PadMode, *, collect: bool
    ) -> None:
        super().__init__()
        self.scale = scale
        self.head = same_conv(3, width, 3, pad_mode)
        self.body = nn.ModuleList(blocks)
        if collect:
            self.concat, self.activation = Concat(count=len(self.body)), LeakyRelu(slope=SLOPE)
        self.collect = same_conv(width * len(self.body), width, 1, pad_mode) if collect else None
        self.tail = same_conv(width, width, 3, pad_mode)
        self.add = Add()
        self.upsampler = same_conv(width, 3 * scale**2, 3, pad_mode)
        self.shuffle = PixelShuffle(scale=scale)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 3 H W`` RGB in 0..1 -> ``N 3 sH sW``."""
        shallow = features = self.head(lq)
        made = []
        for block in self.body:
            features = block(features)
            made.append(features)
        if self.collect is not None:
            features = self.activation(self.collect(self.concat(*made)))
        deep = self.add(self.tail(features), shallow)
        return self.shuffle(self.upsampler(deep))  # type: ignore[no-any-return]
