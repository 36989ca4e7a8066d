"""Structural similarity, as the authors' own MATLAB code computes it.

Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), section
III-B: Gaussian window of 11x11 with a deviation of 1.5, K1 = 0.01, K2 = 0.03; only windows inside the image count.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03

FloatPlane = npt.NDArray[np.float64]


def ssim(restored: npt.NDArray[Any], hq: npt.NDArray[Any], *, peak: float = 255.0) -> float:
    """Compute the mean structural similarity of two planes.

    Args:
        restored: ``H W``, integers or floats in 0..``peak``, at least 11x11.
        hq: the truth, same shape.
        peak: the value of white.

    Returns:
        Mean over all windows, at most 1, which equal images reach.

    Raises:
        ShapeError: if the shapes differ, are not ``H W``, or are below 11x11.
    """
    if restored.shape != hq.shape or restored.ndim != 2:
        raise ShapeError(f"SSIM: got shapes {restored.shape} and {hq.shape}; accepted two equal `H W`")
    if min(restored.shape) < WINDOW:
        raise ShapeError(
            f"SSIM: got {restored.shape[1]}x{restored.shape[0]} pixels; at least {WINDOW}x{WINDOW} are needed"
        )
    x, y = restored.astype(np.float64), hq.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x * mean_x
    variance_y = _blur(y * y) - mean_y * mean_y
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float(np.mean(luminance * structure))


def _blur(plane: FloatPlane) -> FloatPlane:
    """Average each full window with Gaussian weights: ``H W`` -> ``H-10 W-10``."""
    distance = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(distance**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    height, width = plane.shape[0] - WINDOW + 1, plane.shape[1] - WINDOW + 1
    columns = np.zeros((height, plane.shape[1]))
    for at, weight in enumerate(weights):
        columns += weight * plane[at : at + height]
    blurred = np.zeros((height, width))
    for at, weight in enumerate(weights):
        blurred += weight * columns[:, at : at + width]
    return blurred
