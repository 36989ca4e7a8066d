"""DRN: an image enlarged by bicubic, led down to its own size and up again, with an image read off at every size.

    enlarge   bicubic by s; all that follows begins at the large size
    centre    1x1: the mean colour taken away
    head      3x3, 3 to F channels
    down      log2(s) times: 3x3 of stride 2, leaky ReLU, 3x3 to twice the channels
    stages    log2(s) times: B residual blocks with channel attention, 3x3 and pixel shuffle by 2, 1x1, and what went
              down at that size is concatenated
    tails     3x3 to an image, at the small size and after every stage; ``restore``, a 1x1, adds the mean colour

The two 1x1 are counted and trained (24 parameters), as in the official code, whose flag to freeze them has no effect;
so its weights fit. Channel attention needs the whole image: DRN cannot stream.

Outputs: ``image``, then ``scale1``, ``scale2`` ... below it, and ``features``, which the last of the tails reads. All
but the first are for training (`thinlens.train.losses.dual_regression`, `.distillation`).

The channels inside a block, a step down, or a stage's enlargement can be any (``inner``), those between are fixed: that
is what dual regression compression searches and cuts.

Source: Guo et al., Closed-loop Matters: Dual Regression Networks for Single Image Super-Resolution, CVPR 2020; widths
of the compressed ones: Guo et al., Towards Lightweight Super-Resolution with Dual Regression Learning, 2022, its
released configurations.
"""

import re
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.model.ops import PadMode
from thinlens.train.blocks.attention import ChannelAttention
from thinlens.train.blocks.conv import same_conv
from thinlens.train.ops import Add, Concat, Conv2d, LeakyRelu, PixelShuffle, Relu, Resize

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, RGB in 0..1
SLOPE, REDUCTION = 0.2, 16
BLOCKS = 30
SIZES = {(4, 16, 30): "s", (4, 20, 40): "l", (8, 8, 30): "s", (8, 10, 36): "l"}  # scale, F, B

# Of the compressed DRN-S: widths of the steps down, then of each stage width -> blocks, and that of its enlargement.
Widths = tuple[dict[int, int], int]
COMPRESSED: dict[tuple[int, str], tuple[tuple[int, ...], tuple[Widths, ...]]] = {
    (4, "s30"): ((12, 20), (({36: 8, 40: 12, 44: 10}, 40), ({36: 1, 40: 11, 44: 18}, 44))),
    (4, "s50"): ((4, 8), (({16: 1, 24: 5, 28: 11, 32: 13}, 28), ({28: 5, 32: 25}, 32))),
    (4, "s70"): ((4, 8), (({12: 1, 16: 13, 20: 16}, 20), ({16: 7, 20: 23}, 20))),
    (8, "s30"): (
        (4, 12, 20),
        (({32: 1, 36: 4, 40: 10, 44: 15}, 44), ({36: 4, 40: 10, 44: 16}, 44), ({16: 9, 20: 21}, 20)),
    ),
    (8, "s50"): (
        (4, 8, 16),
        (({24: 4, 28: 9, 32: 17}, 24), ({24: 2, 28: 11, 32: 17}, 32), ({12: 5, 16: 25}, 16)),
    ),
    (8, "s70"): ((4, 8, 16), (({12: 1, 16: 9, 20: 20}, 16), ({16: 11, 20: 19}, 20), ({4: 4, 8: 26}, 8))),
}


def compressed_widths(scale: int, size: str) -> tuple[int, ...]:
    """The list `DrnConfig.inner` of a compressed DRN-S of the released sizes.

    What is known here is how many blocks of a stage have which width, not which block has which: they ascend. Costs do
    not depend on it.
    """
    down, stages = COMPRESSED[scale, size]
    blocks = [[*sorted(width for width, count in counts.items() for _ in range(count)), up] for counts, up in stages]
    return (*down, *chain.from_iterable(blocks))


@dataclass(frozen=True)
class DrnConfig:
    """Configuration of DRN.

    Args:
        scale: 2, 4 or 8.
        width: F, channels at the large size; doubled at each step down.
        blocks: B, residual blocks a stage.
        inner: channels inside each step down, then for each stage inside each block and inside its enlargement (after
            the shuffle), log2(s) (B + 2) numbers in all; None: as many as outside.
        pad_mode: ``edge`` for our own, ``zero`` for imported weights.
    """

    scale: int
    width: int
    blocks: int
    inner: tuple[int, ...] | None = None
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 3

    @property
    def steps(self) -> int:
        """How many steps down, and stages up."""
        return self.scale.bit_length() - 1

    @property
    def name(self) -> str:
        """Such as ``drn_s_x4``, ``drn_s30_x4``; ``drn_w4_b2_x4`` where the size is not the papers'.

        One with other channels inside has no name of its own, and is ``drn_w4_b2_inner_x4``.
        """
        size = SIZES.get((self.scale, self.width, self.blocks), f"w{self.width}_b{self.blocks}")
        if self.inner is not None:
            known = [name for scale, name in COMPRESSED if scale == self.scale and size == "s"]
            size = next((name for name in known if self._has_widths_of(name)), f"{size}_inner")
        return f"drn_{size}_x{self.scale}"

    def _has_widths_of(self, name: str) -> bool:
        """Whether its channels inside are those of a compressed one, whichever block of a stage has which."""
        ours, theirs, n = self.widths(), compressed_widths(self.scale, name), self.blocks + 1

        def sorted_stages(widths: tuple[int, ...]) -> list[tuple[int, ...]]:
            starts = range(self.steps, len(widths), n)
            return [widths[: self.steps], *((*sorted(widths[i : i + n - 1]), widths[i + n - 1]) for i in starts)]

        return sorted_stages(ours) == sorted_stages(theirs)

    def stage_width(self, stage: int) -> int:
        """Channels of the blocks of a stage, from 0."""
        return self.width << (self.steps + min(0, 1 - stage))

    def widths(self) -> tuple[int, ...]:
        """`inner`, spelled out."""
        if self.inner is not None:
            return self.inner
        down = [self.width * 2**step for step in range(self.steps)]
        return (*down, *(self.stage_width(stage) for stage in range(self.steps) for _ in range(self.blocks + 1)))

    def create(self) -> nn.Module:
        """The network, initialised as torch's own layers are."""
        return Drn(self)


def published() -> list[DrnConfig]:
    """All sizes that have a name."""
    full = [DrnConfig(*size) for size in SIZES]
    small = {config.scale: config for config in full if config.name.startswith("drn_s_")}
    return full + [
        DrnConfig(scale, small[scale].width, BLOCKS, compressed_widths(scale, name)) for scale, name in COMPRESSED
    ]


def find_drn(name: str) -> DrnConfig | None:
    """The configuration of a name such as ``drn_w4_b2_x4``; None: it is no such name."""
    found = re.fullmatch(r"drn_w([1-9]\d{0,2})_b([1-9]\d?)_x([248])", name, re.ASCII)
    return None if found is None else DrnConfig(int(found[3]), int(found[1]), int(found[2]))


class Drn(nn.Module):
    """``N 3 H W`` RGB in 0..1 -> a dict of outputs, ``image`` (``N 3 sH sW``) first."""

    def __init__(self, config: DrnConfig) -> None:
        super().__init__()
        width, pad_mode, steps = config.width, config.pad_mode, config.steps
        self.scale = config.scale
        inner = iter(config.widths())
        self.enlarge = Resize(mode="bicubic", factor=config.scale, coefficient=-0.75, border="edge")
        self.centre = _shift(-1)
        self.head = same_conv(3, width, 3, pad_mode)
        self.down = nn.ModuleList(StepDown(width * 2**step, next(inner), pad_mode) for step in range(steps))
        self.tails = nn.ModuleList([same_conv(width * 2**steps, 3, 3, pad_mode)])
        self.stages = nn.ModuleList()
        for stage in range(steps):
            out = width * 2 ** (steps - 1 - stage)
            counts = [next(inner) for _ in range(config.blocks + 1)]
            self.stages.append(Stage(config.stage_width(stage), counts, out, pad_mode))
            self.tails.append(same_conv(2 * out, 3, 3, pad_mode))
        self.concat = Concat(count=2)
        self.restore = _shift(+1)
        self.outputs = ("image", *(f"scale{2**step}" for step in range(steps)), "features")

    def forward(self, lq: torch.Tensor) -> dict[str, torch.Tensor]:
        """Any height and width."""
        features = self.head(self.centre(self.enlarge(lq)))
        skips = []
        for step in self.down:
            skips.append(features)
            features = step(features)
        images = [self.restore(self.tails[0](features))]
        for stage, tail in zip(self.stages, self.tails[1:], strict=True):
            features = self.concat(stage(features), skips.pop())
            images.append(self.restore(tail(features)))
        return dict(zip(self.outputs, [images[-1], *images[:-1], features], strict=True))


class StepDown(nn.Module):
    """3x3 of stride 2, leaky ReLU, 3x3 to twice the channels; no biases.

    Args:
        channels: of the input.
        inner: between the two.
        pad_mode: of both.
    """

    def __init__(self, channels: int, inner: int, pad_mode: PadMode) -> None:
        super().__init__()
        self.shrink = _unbiased(channels, inner, 2, pad_mode)
        self.activation = LeakyRelu(slope=SLOPE)
        self.widen = _unbiased(inner, 2 * channels, 1, pad_mode)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` of even height and width -> ``N 2C H/2 W/2``."""
        return self.widen(self.activation(self.shrink(features)))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Residual blocks, then twice the size.

    Args:
        width: channels of the blocks.
        inner: inside each block, and at the end of the enlargement.
        out: channels of the result.
        pad_mode: of all 3x3 convolutions.
    """

    def __init__(self, width: int, inner: list[int], out: int, pad_mode: PadMode) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width, count, pad_mode) for count in inner[:-1])
        self.enlarge = same_conv(width, 4 * inner[-1], 3, pad_mode)
        self.shuffle = PixelShuffle(scale=2)
        self.mix = same_conv(inner[-1], out, 1, pad_mode)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C' 2H 2W``."""
        for block in self.blocks:
            features = block(features)
        return self.mix(self.shuffle(self.enlarge(features)))  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, ReLU between them, channel attention, and the input added.

    Args:
        width: channels of input and output.
        inner: between the two.
        pad_mode: of both.

    Source: Zhang et al., Image Super-Resolution Using Very Deep Residual Channel Attention Networks, ECCV 2018,
    section 3.3.
    """

    def __init__(self, width: int, inner: int, pad_mode: PadMode) -> None:
        super().__init__()
        self.first = same_conv(width, inner, 3, pad_mode)
        self.second = same_conv(inner, width, 3, pad_mode)
        self.attention = ChannelAttention(width, max(1, width // REDUCTION))
        self.relu, self.add = Relu(), Add()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``."""
        made = self.second(self.relu(self.first(features)))
        return self.add(self.attention(made), features)  # type: ignore[no-any-return]


def _unbiased(channels: int, out: int, stride: int, pad_mode: PadMode) -> Conv2d:
    return Conv2d(
        in_channels=channels, out_channels=out, kernel=(3, 3), stride=stride, padding=(1, 1), pad_mode=pad_mode
    )


def _shift(sign: int) -> Conv2d:
    """A 1x1 convolution that begins as each colour plus or less its mean."""
    shift = same_conv(3, 3, 1, "zero")
    with torch.no_grad():
        shift.weight.copy_(torch.eye(3)[:, :, None, None])
        shift.bias.copy_(sign * torch.tensor(MEAN))
    return shift
