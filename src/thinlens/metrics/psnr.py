"""Peak signal-to-noise ratio."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError


def psnr_db(restored: npt.NDArray[Any], hq: npt.NDArray[Any], *, peak: float = 255.0) -> float:
    """Compute the PSNR in dB, 10 log10(peak**2 / mean squared difference), over all pixels and channels.

    Args:
        restored: any shape, integers or floats in 0..``peak``.
        hq: the truth, same shape.
        peak: the value of white.

    Returns:
        dB; infinity for equal images.

    Raises:
        ShapeError: if the shapes differ or there are no pixels.
    """
    if restored.shape != hq.shape or restored.size == 0:
        raise ShapeError(f"PSNR: got shapes {restored.shape} and {hq.shape}; they must be equal and not empty")
    difference = restored.astype(np.float64) - hq.astype(np.float64)
    mse = float(np.mean(difference * difference))
    return 10.0 * math.log10(peak * peak / mse) if mse else math.inf
