"""SRResNet without batch norm, in full precision or with any of its parts binary: BBCU-L and BBCU-M among them.

    head        3x3 to features
    body        16 blocks of two 3x3, each block with a skip; binary: each convolution with its own
    upsampler   3x3 and pixel shuffle, twice for x4, and one 3x3 more at full size
    tail        3x3 to the image; the image resized bilinearly is added

BBCU-L has a binary body; BBCU-M a binary upsampler too; BBCU-H, -U and -T one part each.

Source: Xia et al., Basic Binary Convolution Unit for Binarized Image Restoration Network, ICLR 2023, section 4; Ledig
et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017, section 2.1.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.model import ops
from thinlens.train.blocks.binary_conv import (
    FORMS,
    BinaryUnit,
    ScaledConv,
    Unit,
    alignment,
    body_unit,
    head_unit,
    tail_unit,
    upsampler_unit,
)
from thinlens.train.ops import Add, LeakyRelu, PixelShuffle, Relu, Resize

BLOCKS, WIDTH, SLOPE = 16, 64, 0.1
START = 0.1  # of Kaiming's deviation, at which everything but a binary body begins

Part = Literal["head", "body", "upsampler", "tail"]
LETTERS: dict[str, tuple[Part, ...]] = {
    "h": ("head",),
    "u": ("upsampler",),
    "t": ("tail",),
    "l": ("body",),
    "m": ("body", "upsampler"),
}


@dataclass(frozen=True)
class SrResNetConfig:
    """Configuration of SRResNet.

    Args:
        scale: 2, 3 or 4.
        width: feature channels; 64 in the paper, 12 in its lite network.
        parts: which are binary, one of the choices of `LETTERS`; none: full precision.
        unit: that binary parts are made of.
        gain: of residual alignment, what the image is multiplied by, > 0; None: the unit's own.
        pad_mode: of the convolutions in full precision: ``edge`` for our own, ``zero`` for imported weights.
    """

    scale: int
    width: int = WIDTH
    parts: tuple[Part, ...] = ()
    unit: Unit = "v4"
    gain: float | None = None
    pad_mode: Literal["edge", "zero"] = "edge"
    channels: ClassVar[int] = 3

    @property
    def name(self) -> str:
        """Such as ``srresnet_x4``, ``bbcu_m_w16_x4``, ``bbcu_l_v1_x4``, ``bbcu_l_k1_x4`` and ``bnn_l_x4``."""
        width = "" if self.width == WIDTH else f"_w{self.width}"
        if not self.parts:
            return f"srresnet{width}_x{self.scale}"
        letter = next(letter for letter, parts in LETTERS.items() if parts == self.parts)
        version = self.unit in ("v1", "v2", "v3", "v4")
        name = f"{'bbcu' if version else self.unit}_{letter}"
        name += f"_{self.unit}" if version and self.unit != "v4" else ""
        return f"{name}{'' if self.gain is None else f'_k{self.gain:g}'}{width}_x{self.scale}"

    @property
    def factor(self) -> float:
        """What the image is multiplied by; 1 without binary parts."""
        own = alignment(self.unit, self.width) if self.parts else 1.0
        return own if self.gain is None else self.gain

    def create(self) -> nn.Module:
        """The network in its train form, initialised as published."""
        return SrResNet(self)


class SrResNet(nn.Module):
    """``N 3 H W`` RGB in 0..1 -> ``N 3 sH sW``."""

    def __init__(self, config: SrResNetConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.head = _head(config)
        self.body = nn.Sequential(*(_body(config) for _ in range(BLOCKS)))
        steps = [2, 2] if config.scale == 4 else [config.scale]
        self.upsampler = nn.Sequential(*(_upsampler(config, step) for step in steps), _full_size(config))
        self.tail = _tail(config)
        self.resize, self.add = Resize(mode="bilinear", factor=config.scale), Add()

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 3 H W`` -> ``N 3 sH sW``."""
        features = self.upsampler(self.body(self.head(lq)))
        image = self.resize(lq)
        if isinstance(self.tail, _BinaryTail):
            return self.tail(features, image)  # type: ignore[no-any-return]
        return self.add(self.tail(features), image)  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Two convolutions, or binary units without skips of their own, and a skip around them."""

    def __init__(self, *steps: nn.Module) -> None:
        super().__init__()
        self.steps, self.add = nn.Sequential(*steps), Add()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.add(self.steps(x), x)  # type: ignore[no-any-return]


class _BinaryTail(nn.Module):
    """A unit whose shortcut is the resized image; where its form has no skip, that is added all the same."""

    def __init__(self, unit: BinaryUnit) -> None:
        super().__init__()
        self.unit = unit
        self.add = None if unit.form.skip else Add()

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        if self.add is None:
            return self.unit(features, image)  # type: ignore[no-any-return]
        return self.add(self.unit(features), image)  # type: ignore[no-any-return]


def _head(config: SrResNetConfig) -> nn.Module:
    if "head" in config.parts:
        return _begun(head_unit(3, config.width, FORMS[config.unit], config.factor))
    return nn.Sequential(_conv(config, 3, config.width, gain=config.factor), LeakyRelu(slope=SLOPE))


def _body(config: SrResNetConfig) -> nn.Module:
    width, form = config.width, FORMS[config.unit]
    if "body" not in config.parts:
        return _Block(_conv(config, width, width), Relu(), _conv(config, width, width))
    units = [_started(body_unit(width, form), config.unit) for _ in range(2)]
    return nn.Sequential(*units) if form.skip else _Block(*units)


def _upsampler(config: SrResNetConfig, step: int) -> nn.Module:
    width = config.width
    if "upsampler" in config.parts:
        return _begun(upsampler_unit(width, step, FORMS[config.unit]))
    return nn.Sequential(_conv(config, width, width * step**2), PixelShuffle(scale=step), LeakyRelu(slope=SLOPE))


def _full_size(config: SrResNetConfig) -> nn.Module:
    """The last of the upsampler."""
    width, binary = config.width, "upsampler" in config.parts
    conv = _begun(body_unit(width, FORMS[config.unit])) if binary else _conv(config, width, width)
    return nn.Sequential(conv, LeakyRelu(slope=SLOPE))


def _tail(config: SrResNetConfig) -> nn.Module:
    if "tail" in config.parts:
        return _begun(_BinaryTail(tail_unit(config.width, 3, FORMS[config.unit], config.factor)))
    return _conv(config, config.width, 3, gain=1 / config.factor, bias_gain=1 / config.factor)


def _conv(config: SrResNetConfig, channels: int, out: int, *, gain: float = 1.0, bias_gain: float = 1.0) -> nn.Module:
    """A 3x3 in full precision, with bias."""
    op = ops.Conv2d(
        in_channels=channels, out_channels=out, kernel=(3, 3), padding=(1, 1), pad_mode=config.pad_mode, bias=True
    )
    return _begun(ScaledConv(op, gain, bias_gain))


def _begun(module: nn.Module) -> nn.Module:
    """Weights of convolutions by Kaiming's rule, a tenth of that; biases zero."""
    for part in module.modules():
        if isinstance(part, ScaledConv | BinaryUnit):
            nn.init.normal_(part.weight, std=START * (2 / part.weight[0].numel()) ** 0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module


def _started(unit: BinaryUnit, kind: Unit) -> BinaryUnit:
    """The body's latent weights: as torch's own layers; BTM's by Xavier's rule."""
    if kind == "btm":
        nn.init.xavier_uniform_(unit.weight)
    return unit
