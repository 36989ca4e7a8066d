"""LineDL: restoration line by line. A network sees a band of rows, and remembers the bands above it.

LineDN removes noise, LineSR enlarges by 2, 3, 4, or by all three with one trunk (joint). All convolutions pad at the
edges of the band; nothing below a band is looked at, and of what is above it only what the memories kept.

    encoder   3x3 to ``width``, ReLU; 3x3 to ``bottleneck``, ReLU
    itm       information transmission modules in series, at the bottleneck's width (`thinlens.train.blocks.line`)
    decoder   3x3 to ``width``, ReLU
    LineDN    3x3 to the image; what it gives is taken from the input
    LineSR    3x3, ReLU; 3x3 and pixel shuffle by 2 or 3, twice by 2 for 4; 3x3 to the image; the band enlarged by
              bicubic interpolation is added

Published are a compressed form (2 modules of 64 channels) and the form before compression (4 of 128). The layout is a
reconstruction consistent with every published size: docs/methods/line_dl.md.

Source: LineDL, "Processing Images Line-by-Line With Deep Learning".
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from thinlens.model.ops import Align, PadMode
from thinlens.train.blocks.line import Itm, Naive, Plain, Transmission, band_conv
from thinlens.train.ops import Add, Bands, PixelShuffle, Relu, Resize, Unbands

WIDTH, ROWS, COMPRESSED, FULL = 64, 4, 2, 4


@dataclass(frozen=True)
class LineConfig:
    """Configuration of LineDN and LineSR.

    Args:
        scales: of the upscaler, of 2, 3 and 4; several share one trunk, the first makes the output ``image``. None:
            noise is removed instead.
        width: channels of encoder and decoder; 64 in the paper.
        modules: how many information transmission modules: 4 before compression, 2 after; 0: none.
        wide: whether these have twice the channels of encoder and decoder, as before compression.
        transmission: which modules: the method's, or what it is compared with.
        rows: of a band.
        warm_up: bands mirrored above the image, whose output is dropped.
        align: which row of the band before stands for which in the memory.
        residual: whether a module adds its input to what it makes; it learns sooner so, and weighs the same.
        pad_mode: of all convolutions but those of the hidden state, which pad with zeros.
        bias: whether convolutions have biases; the published sizes are those of networks without.
        channels: of the images, 1 or 3.
    """

    scales: tuple[int, ...] = ()
    width: int = WIDTH
    modules: int = COMPRESSED
    wide: bool = False
    transmission: Transmission = "itm"
    rows: int = ROWS
    warm_up: int = 1
    align: Align = "same"
    residual: bool = False
    pad_mode: PadMode = "edge"
    bias: bool = False
    channels: Literal[1, 3] = 3

    @property
    def scale(self) -> int:
        """Of the output ``image``."""
        return self.scales[0] if self.scales else 1

    @property
    def task(self) -> Literal["sr", "denoise"]:
        """What it does; without scales it denoises."""
        return "sr" if self.scales else "denoise"

    @property
    def bottleneck(self) -> int:
        """Channels of the modules."""
        return self.width * (2 if self.wide else 1)

    @property
    def name(self) -> str:
        """Such as ``line_dn``, ``line_sr_x2``, ``line_sr_joint``; ``line_dn_m4_wide_w16`` before compression."""
        words = ["line_sr" if self.scales else "line_dn"]
        words += [f"m{self.modules}"] * (self.modules != COMPRESSED) + ["wide"] * self.wide
        words += [self.transmission] * (self.transmission != "itm")
        words += [self.align] * (self.align != "same") + [f"b{self.rows}"] * (self.rows != ROWS)
        words += [f"w{self.width}"] * (self.width != WIDTH)
        words += [f"x{self.scale}" if len(self.scales) == 1 else "joint"] * bool(self.scales)
        return "_".join(words)

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        return LineNetwork(self)


def _module(config: LineConfig) -> nn.Module:
    if config.transmission == "plain":
        return Plain(config.bottleneck, config.pad_mode, bias=config.bias)
    if config.transmission == "naive":
        return Naive(config.bottleneck, config.align)
    return Itm(config.bottleneck, config.align, config.pad_mode, bias=config.bias, residual=config.residual)


class LineNetwork(nn.Module):
    """``N C H W`` in 0..1 -> ``N C H W`` (denoising), ``N C sH sW``, or a dict of these, ``image`` first (joint)."""

    def __init__(self, config: LineConfig) -> None:
        super().__init__()
        self.config, self.scale = config, config.scale
        width, wide = config.width, config.bottleneck
        self.bands = Bands(rows=config.rows, warm_up=config.warm_up)
        self.first = self._conv(config.channels, width)
        self.second = self._conv(width, wide)
        self.transmit = nn.ModuleList(_module(config) for _ in range(config.modules))
        self.decode = self._conv(wide, width)
        self.relu = Relu()
        self.tail = self._conv(width, config.channels)  # one for all scales
        if config.scales:
            self.refine = self._conv(width, width)
            self.tails = nn.ModuleDict({f"x{scale}": Upscaler(config, scale) for scale in config.scales})
        else:
            self.subtract = Add(b=-1.0)
            self.unbands = Unbands(rows=config.rows, warm_up=config.warm_up)

    def _conv(self, channels: int, out: int) -> nn.Module:
        return band_conv(channels, out, self.config.pad_mode, bias=self.config.bias)

    def forward(self, lq: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Any height and width."""
        bands = self.bands(lq)
        features = self.relu(self.second(self.relu(self.first(bands))))
        for module in self.transmit:
            features = module(features, lq)
        features = self.relu(self.decode(features))
        if not self.config.scales:
            return self.unbands(self.subtract(bands, self.tail(features)), lq)  # type: ignore[no-any-return]
        features = self.relu(self.refine(features))
        made = [tail(features, self.tail, bands, lq) for tail in self.tails.values()]
        names = ["image", *(f"scale{scale}" for scale in self.config.scales[1:])]
        return dict(zip(names, made, strict=True)) if len(made) > 1 else made[0]


class Upscaler(nn.Module):
    """From the trunk's bands to an image of one scale."""

    def __init__(self, config: LineConfig, scale: int) -> None:
        super().__init__()
        width, steps = config.width, (2, 2) if scale == 4 else (scale,)
        self.convs = nn.ModuleList(
            band_conv(width, width * step**2, config.pad_mode, bias=config.bias) for step in steps
        )
        self.shuffle = PixelShuffle(scale=steps[0])
        self.enlarge = Resize(mode="bicubic", factor=scale, coefficient=-0.5, border="symmetric")
        self.add = Add()
        self.unbands = Unbands(rows=config.rows, warm_up=config.warm_up, scale=scale)

    def forward(
        self, features: torch.Tensor, tail: nn.Module, bands: torch.Tensor, image: torch.Tensor
    ) -> torch.Tensor:
        """Bands of features, the last convolution, the image's bands, and the image -> the enlarged image."""
        for conv in self.convs:
            features = self.shuffle(conv(features))
        return self.unbands(self.add(tail(features), self.enlarge(bands)), image)  # type: ignore[no-any-return]
