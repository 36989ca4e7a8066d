"""Bicubic degradation: the low-quality half of a super-resolution pair."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError
from thinlens.image.resample import resize_uint8

SCALES = (2, 3, 4, 8)


def check_scale(scale: int) -> None:
    """Raise ShapeError unless ``scale`` is one of ``SCALES``."""
    if scale not in SCALES:
        raise ShapeError(f"`scale`: got {scale}; accepted {', '.join(map(str, SCALES))}")


def crop_to_multiple(hq: npt.NDArray[Any], scale: int) -> npt.NDArray[Any]:
    """Cut rows at the bottom and columns at the right so that both sizes are multiples of ``scale``.

    Args:
        hq: ``H W`` or ``H W C``, any dtype.
        scale: 2, 3, 4 or 8.

    Returns:
        A view of ``hq``.

    Raises:
        ShapeError: on another scale, or if nothing would be left.
    """
    check_scale(scale)
    height, width = (size // scale * scale for size in hq.shape[:2])
    if not height or not width:
        raise ShapeError(f"{hq.shape[1]}x{hq.shape[0]} pixels are too few to shrink by {scale}; use a larger image")
    return hq[:height, :width]


def bicubic_down(hq: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    """Shrink by a whole factor with antialiased bicubic, as MATLAB's ``imresize`` does with 8-bit images.

    Args:
        hq: ``H W`` or ``H W C`` uint8; cropped to a multiple of ``scale`` first.
        scale: 2, 3, 4 or 8.

    Returns:
        ``H // scale`` x ``W // scale``, uint8.

    Raises:
        ShapeError: on another scale or dtype, or if the image is smaller than ``scale``.
    """
    cropped = crop_to_multiple(hq, scale)
    return resize_uint8(cropped, cropped.shape[0] // scale, cropped.shape[1] // scale)
