"""edge-SR: upscalers of a single layer, between bicubic and deep networks, and a small network that ends in one.

One convolution makes ``C`` candidate values for every output pixel, a pixel shuffle puts them in place, and the
candidates of each pixel compete:

    eSR-MAX  max_c v_c                              one group of C channels: values
    eSR-TM   sum_c v_c softmax_c(k)                 template matching: values, keys
    eSR-TR   sum_c v_c softmax_c(q k)               one-layer attention: values, queries, keys
    eSR-CNN  sum_c v_c softmax_c(k k)               the same competition after three convolutions: values, keys

The one-layer networks have no bias and no activation. Groups are the outermost index of the last convolution's
channels: values come first.

Source: Navarrete Michelini, Lu, Jiang, edge-SR: Super-Resolution For The Masses, WACV 2022, section 3. Satellites:
`thinlens.train.shared_phase` (how ours are trained), `recipes/edge_sr_*.toml`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.train.ops import ChannelMax, ChannelSlice, Conv2d, Multiply, PixelShuffle, SoftmaxSum, Tanh

Kind = Literal["max", "tm", "tr"]
GROUPS: dict[Kind, int] = {"max": 1, "tm": 2, "tr": 3}


@dataclass(frozen=True)
class EdgeSR:
    """Configuration of a one-layer upscaler.

    Args:
        kind: ``max``, ``tm`` (template matching) or ``tr`` (transformer).
        kernel_size: odd side of the filters, in input pixels: 3, 5 or 7 in the paper.
        candidates: C, 1 to 16 in the paper.
        scale: 2, 3, 4 or 8.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    kind: Kind
    kernel_size: int
    candidates: int
    scale: int
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``edge_sr_tm_k7_c4_x2``."""
        return f"edge_sr_{self.kind}_k{self.kernel_size}_c{self.candidates}_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, initialised as published."""
        return {"max": EdgeSRMax, "tm": EdgeSRTM, "tr": EdgeSRTR}[self.kind](self)


class _EdgeSR(nn.Module):
    """The shared layer: convolution and pixel shuffle; ``N 1 H W`` luma in 0..1 -> ``N 1 sH sW``."""

    def __init__(self, config: EdgeSR) -> None:
        super().__init__()
        self.scale = config.scale
        c, k, side = config.candidates, config.kernel_size, config.kernel_size // 2
        channels = GROUPS[config.kind] * c * config.scale**2
        self.filter = Conv2d(
            in_channels=1,
            out_channels=channels,
            kernel=(k, k),
            padding=(side, side),
            pad_mode=config.pad_mode,
        )
        self.shuffle = PixelShuffle(scale=config.scale)
        initialise(self.filter.weight)


class EdgeSRMax(_EdgeSR):
    """eSR-MAX: the largest candidate wins."""

    def __init__(self, config: EdgeSR) -> None:
        super().__init__(config)
        self.max = ChannelMax()

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        return self.max(self.shuffle(self.filter(lq)))  # type: ignore[no-any-return]


class EdgeSRTM(_EdgeSR):
    """eSR-TM: candidates weighted by the softmax of their keys."""

    def __init__(self, config: EdgeSR) -> None:
        super().__init__(config)
        c = config.candidates
        self.values, self.keys = ChannelSlice(start=0, stop=c), ChannelSlice(start=c, stop=2 * c)
        self.sum = SoftmaxSum()

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        z = self.shuffle(self.filter(lq))
        return self.sum(self.values(z), self.keys(z))  # type: ignore[no-any-return]


class EdgeSRTR(_EdgeSR):
    """eSR-TR: candidates weighted by the softmax of query times key."""

    def __init__(self, config: EdgeSR) -> None:
        super().__init__(config)
        c = config.candidates
        self.values = ChannelSlice(start=0, stop=c)
        self.queries, self.keys = ChannelSlice(start=c, stop=2 * c), ChannelSlice(start=2 * c, stop=3 * c)
        self.product, self.sum = Multiply(), SoftmaxSum()

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        z = self.shuffle(self.filter(lq))
        return self.sum(self.values(z), self.product(self.queries(z), self.keys(z)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class EdgeSRCNNConfig:
    """Configuration of eSR-CNN.

    Args:
        candidates: C; 2, 4, 6 or 8 in the paper.
        width: D, channels of the first layer; 1 to 9 in the paper.
        shrink: S, channels of the second layer; 3 to 15 in the paper.
        scale: 2, 3, 4 or 8.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    candidates: int
    width: int
    shrink: int
    scale: int
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``edge_sr_cnn_c4_d3_s6_x2``."""
        return f"edge_sr_cnn_c{self.candidates}_d{self.width}_s{self.shrink}_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, initialised as published."""
        return EdgeSRCNN(self)


class EdgeSRCNN(nn.Module):
    """eSR-CNN: two tanh layers, then candidates weighted by the softmax of their squared keys."""

    def __init__(self, config: EdgeSRCNNConfig) -> None:
        super().__init__()
        self.scale = config.scale
        c, mode = config.candidates, config.pad_mode
        d, s, out = config.width, config.shrink, 2 * config.candidates * config.scale**2
        self.first = Conv2d(in_channels=1, out_channels=d, kernel=(5, 5), padding=(2, 2), pad_mode=mode, bias=True)
        self.second = Conv2d(in_channels=d, out_channels=s, kernel=(3, 3), padding=(1, 1), pad_mode=mode, bias=True)
        self.third = Conv2d(in_channels=s, out_channels=out, kernel=(3, 3), padding=(1, 1), pad_mode=mode)
        self.tanh, self.shuffle = Tanh(), PixelShuffle(scale=config.scale)
        self.values, self.keys = ChannelSlice(start=0, stop=c), ChannelSlice(start=c, stop=2 * c)
        self.product, self.sum = Multiply(), SoftmaxSum()
        for layer in (self.first, self.second, self.third):
            initialise(layer.weight)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        z = self.shuffle(self.third(self.tanh(self.second(self.tanh(self.first(lq))))))
        keys = self.keys(z)
        return self.sum(self.values(z), self.product(keys, keys))  # type: ignore[no-any-return]


def initialise(weight: torch.Tensor) -> None:
    """Xavier-normal, then the centre tap of each filter's first channel 1: near nearest-neighbour upscaling."""
    nn.init.xavier_normal_(weight)
    with torch.no_grad():
        weight[:, 0, weight.shape[2] // 2, weight.shape[3] // 2] = 1.0
