"""What trainings minimise: a loss on pixels, alone or mixed with one on frequencies.

Each takes ``restored`` and ``hq``, both ``N C H W`` floats, and gives a scalar.
"""

from collections.abc import Callable
from typing import Literal

import torch

from thinlens.train.losses.fourier import fourier
from thinlens.train.losses.pixel import charbonnier, l1, l2, log_mse

Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
PixelLoss = Literal["l1", "l2", "charbonnier", "log_mse"]
PIXEL_LOSSES: dict[PixelLoss, Measure] = {"l1": l1, "l2": l2, "charbonnier": charbonnier, "log_mse": log_mse}


def create_loss(pixel: PixelLoss, fourier_weight: float = 0.0) -> Measure:
    """The loss ``(1 - w) pixel + w fourier``.

    Args:
        pixel: a name of `PIXEL_LOSSES`.
        fourier_weight: w, 0 to 1; RepRFN's is 0.1, with ``charbonnier``.

    Source: Deng et al., Reparameterized Residual Feature Network, CVPRW 2023, section 3.3.
    """
    measure = PIXEL_LOSSES[pixel]
    if not fourier_weight:
        return measure
    return lambda restored, hq: (1 - fourier_weight) * measure(restored, hq) + fourier_weight * fourier(restored, hq)
