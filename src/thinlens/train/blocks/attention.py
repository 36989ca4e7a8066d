"""Gates that weigh features: over space by what surrounds them (ESA), over channels by means (CA) or contrast (CCA)."""

from typing import Literal

import torch
from torch import nn

from thinlens.model.ops import PadMode
from thinlens.train.blocks.conv import same_conv
from thinlens.train.ops import Add, Conv2d, GlobalMean, GlobalStd, MaxPool, Multiply, Relu, Resize, Sigmoid

EsaForm = Literal["original", "reduced"]


class SpatialAttention(nn.Module):
    """Enhanced spatial attention: features times a gate that is computed at about a sixth of their size.

    ``reduce`` (1x1), then a branch of ``shrink`` (3x3, stride 2), max-pool (7x7, stride 3), ``convs`` (3x3) and
    bilinear resizing back, added to ``keep`` (1x1) of the reduced features; ``expand`` (1x1) and a sigmoid make the
    gate. Neither ``shrink`` nor the pool pads, so images need 15 pixels a side.

    Args:
        channels: of the features.
        width: channels inside.
        form: ``original`` has three 3x3 convolutions at the small size, ReLU after the first two; ``reduced`` one.
        pad_mode: of those convolutions.

    Source: Liu et al., Residual Feature Aggregation Network for Image Super-Resolution, CVPR 2020, section 3.3; the
    reduced form: Deng et al., Reparameterized Residual Feature Network, CVPRW 2023, section 3.2.
    """

    def __init__(self, channels: int, width: int, form: EsaForm, pad_mode: PadMode) -> None:
        super().__init__()
        self.reduce = same_conv(channels, width, 1, pad_mode)
        self.keep = same_conv(width, width, 1, pad_mode)
        self.shrink = Conv2d(in_channels=width, out_channels=width, kernel=(3, 3), stride=2, bias=True)
        self.pool = MaxPool(kernel=(7, 7), stride=3)
        self.convs = nn.ModuleList(same_conv(width, width, 3, pad_mode) for _ in range(3 if form == "original" else 1))
        self.expand = same_conv(width, channels, 1, pad_mode)
        self.relu, self.resize, self.add = Relu(), Resize(mode="bilinear"), Add()
        self.sigmoid, self.product = Sigmoid(), Multiply()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``; H and W at least 15."""
        reduced = self.reduce(features)
        around = self.pool(self.shrink(reduced))
        for conv in self.convs[:-1]:
            around = self.relu(conv(around))
        around = self.resize(self.convs[-1](around), reduced)
        gate = self.sigmoid(self.expand(self.add(around, self.keep(reduced))))
        return self.product(features, gate)  # type: ignore[no-any-return]


class ChannelAttention(nn.Module):
    """Channel attention: each channel times a gate made of all channels' means.

    Needs the whole image before it gives a row.

    Args:
        channels: of the features.
        width: channels between the two 1x1 convolutions.

    Source: Zhang et al., Image Super-Resolution Using Very Deep Residual Channel Attention Networks, ECCV 2018,
    section 3.3.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.mean = GlobalMean()
        self.reduce, self.expand = same_conv(channels, width, 1, "zero"), same_conv(width, channels, 1, "zero")
        self.relu, self.sigmoid, self.product = Relu(), Sigmoid(), Multiply()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``."""
        gate = self.sigmoid(self.expand(self.relu(self.reduce(self.mean(features)))))
        return self.product(features, gate)  # type: ignore[no-any-return]


class ContrastAttention(nn.Module):
    """Contrast-aware channel attention: each channel times a gate made of all channels' means and deviations.

    Needs the whole image before it gives a row.

    Args:
        channels: of the features.
        width: channels between the two 1x1 convolutions.

    Source: Hui et al., Lightweight Image Super-Resolution with Information Multi-distillation Network, ACM MM 2019,
    section 3.3.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.mean, self.deviation, self.add = GlobalMean(), GlobalStd(), Add()
        self.reduce, self.expand = same_conv(channels, width, 1, "zero"), same_conv(width, channels, 1, "zero")
        self.relu, self.sigmoid, self.product = Relu(), Sigmoid(), Multiply()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``."""
        contrast = self.add(self.deviation(features), self.mean(features))
        gate = self.sigmoid(self.expand(self.relu(self.reduce(contrast))))
        return self.product(features, gate)  # type: ignore[no-any-return]
