"""Bicubic interpolation as a network: one 5x5 convolution and a pixel shuffle. What every upscaler must beat.

Keys' cubic with a = -0.5, aligned at every scale: phase ``p`` of ``s`` sits ``(p + 0.5) / s - 0.5`` input pixels from
the pixel it belongs to. Source: Keys, Cubic convolution interpolation for digital image processing, 1981, section 3.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from thinlens.train.ops import Conv2d, PixelShuffle


@dataclass(frozen=True)
class Bicubic:
    """Configuration: an integer scale of 2 or more."""

    scale: int
    channels: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """Such as ``bicubic_x2``."""
        return f"bicubic_x{self.scale}"

    def create(self) -> nn.Module:
        """The network, its weights analytic."""
        return BicubicUpscaler(self.scale)


class BicubicUpscaler(nn.Module):
    """``N 1 H W`` -> ``N 1 sH sW``."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.filter = Conv2d(in_channels=1, out_channels=scale**2, kernel=(5, 5), padding=(2, 2), pad_mode="edge")
        self.shuffle = PixelShuffle(scale=scale)
        taps = phase_taps(scale)
        kernels = torch.einsum("iy,jx->ijyx", taps, taps)
        with torch.no_grad():
            self.filter.weight.copy_(kernels.reshape(scale**2, 1, 5, 5))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        """``N 1 H W`` -> ``N 1 sH sW``."""
        return self.shuffle(self.filter(lq))  # type: ignore[no-any-return]


def phase_taps(scale: int) -> torch.Tensor:
    """One-dimensional taps of each phase at input offsets -2..2: ``(scale, 5)`` float64; rows sum to 1."""
    position = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    d = (position[:, None] - torch.arange(-2, 3, dtype=torch.float64)[None]).abs()
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros(())))
