"""DnCNN of binary units: a blind denoiser in colour and a deblocker of luma for all qualities.

Between a head and a tail in full precision stand 18 units, each with its own skip; the tail predicts what is taken away
from the image. The denoiser has no biases, the deblocker has them everywhere.

Source: Xia et al., Basic Binary Convolution Unit for Binarized Image Restoration Network, ICLR 2023, section 4; Zhang
et al., Beyond a Gaussian Denoiser, IEEE Transactions on Image Processing, 2017, section III.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from thinlens.model import ops
from thinlens.train.blocks.binary_conv import FORMS, ScaledConv, Unit, alignment, body_unit
from thinlens.train.ops import Add, Relu

UNITS, WIDTH = 18, 64


@dataclass(frozen=True)
class BinaryDncnnConfig:
    """Configuration of the binary DnCNN.

    Args:
        task: ``denoise`` (RGB) or ``deblock`` (luma).
        width: feature channels; 64 in the paper.
        unit: of which its body is made.
        gain: of residual alignment, what the image is multiplied by, > 0; None: the unit's own.
        pad_mode: of head and tail: ``edge`` for our own, ``zero`` for imported weights.
    """

    task: Literal["denoise", "deblock"]
    width: int = WIDTH
    unit: Unit = "v4"
    gain: float | None = None
    pad_mode: Literal["edge", "zero"] = "edge"
    scale: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``bbcu_denoise``, and ``bbcu_denoise_w16`` where the width is not the paper's."""
        version = self.unit in ("v1", "v2", "v3", "v4")
        name = f"{'bbcu' if version else self.unit}_{self.task}"
        name += f"_{self.unit}" if version and self.unit != "v4" else ""
        name += "" if self.gain is None else f"_k{self.gain:g}"
        return name if self.width == WIDTH else f"{name}_w{self.width}"

    @property
    def channels(self) -> int:
        """Of the images: 1 (luma) or 3 (RGB)."""
        return 1 if self.task == "deblock" else 3

    @property
    def factor(self) -> float:
        """What the image is multiplied by."""
        return alignment(self.unit, self.width) if self.gain is None else self.gain

    def create(self) -> nn.Module:
        """The network in its train form, initialised as torch's own layers are."""
        return BinaryDncnn(self)


class BinaryDncnn(nn.Module):
    """``N C H W`` in 0..1, or around it, -> the same without what the network takes for damage."""

    def __init__(self, config: BinaryDncnnConfig) -> None:
        super().__init__()
        width, bias = config.width, config.task == "deblock"
        self.scale = 1
        self.head = ScaledConv(_record(config, config.channels, width), config.factor)
        self.activation = Relu()
        units = (body_unit(width, FORMS[config.unit], bias=bias) for _ in range(UNITS))
        self.body = nn.Sequential(*units)
        self.tail = ScaledConv(_record(config, width, config.channels), 1 / config.factor, 1 / config.factor)
        self.subtract = Add(b=-1.0)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C H W``."""
        damage = self.tail(self.body(self.activation(self.head(lq))))
        return self.subtract(lq, damage)  # type: ignore[no-any-return]


def _record(config: BinaryDncnnConfig, channels: int, out: int) -> ops.Conv2d:
    return ops.Conv2d(
        in_channels=channels,
        out_channels=out,
        kernel=(3, 3),
        padding=(1, 1),
        pad_mode=config.pad_mode,
        bias=config.task == "deblock",
    )
