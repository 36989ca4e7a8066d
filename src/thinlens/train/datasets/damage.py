"""Damage of another kind each time: what a denoiser or a deblocker sees of a clean crop.

A network that is to cope with any strength is trained on strengths drawn anew for each crop.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from thinlens.degrade.jpeg import jpeg_round_trip
from thinlens.degrade.noise import gaussian_noise
from thinlens.train.datasets.pairs import Plane

BLOCK = 8  # pixels a side of a JPEG's blocks
AnyPlane = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise, neither clipped nor rounded.

    Args:
        sigma: lowest and highest standard deviation in 8-bit units; drawn evenly, one for each crop.
    """

    sigma: tuple[float, float]
    margin: ClassVar[int] = 0  # pixels that a crop loses

    def __call__(self, hq: Plane, rng: np.random.Generator) -> tuple[AnyPlane, Plane]:
        """``H W`` or ``3 H W`` -> the noisy crop, float32 around 0..1, and the clean one."""
        return gaussian_noise(hq, self.sigma, seed=rng), hq


@dataclass(frozen=True)
class Jpeg:
    """JPEG compression of luma; in half of the crops the 8x8 blocks begin at the crop's corner, in the others anywhere.

    Args:
        quality: lowest and highest, 1 to 100; drawn evenly, one for each crop.

    Source of the shares: Xia et al., Basic Binary Convolution Unit, ICLR 2023, training of the deblocker.
    """

    quality: tuple[int, int]
    margin: ClassVar[int] = BLOCK

    def __call__(self, hq: Plane, rng: np.random.Generator) -> tuple[AnyPlane, Plane]:
        """``H W`` -> the damaged crop and the clean one, both smaller by the margin."""
        low, high = self.quality
        lq = jpeg_round_trip(hq, int(rng.integers(low, high + 1)))
        y, x = rng.integers(0, BLOCK + 1, 2) if rng.integers(2) else (0, 0)
        window = np.s_[y : y + hq.shape[0] - BLOCK, x : x + hq.shape[1] - BLOCK]
        return lq[window], hq[window]


Damage = Noise | Jpeg
