"""JPEG compression: the low-quality half of a deblocking pair."""

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from thinlens.errors import ShapeError

ByteImage = npt.NDArray[np.uint8]
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

SUBSAMPLINGS: tuple[Subsampling, ...] = ("4:4:4", "4:2:2", "4:2:0")
SIDE = 65500


def check_quality(quality: int) -> None:
    """Raise ShapeError unless ``quality`` is in 1..100."""
    if not 1 <= quality <= 100:
        raise ShapeError(f"`quality`: got {quality}; accepted 1 to 100")


def jpeg_round_trip(hq: ByteImage, quality: int, *, subsampling: Subsampling = "4:2:0") -> ByteImage:
    """Encode as JPEG and decode again, in memory.

    Gray is encoded as one plane, as the literature does with luma; RGB as YCbCr with chroma of half the height and
    width, which is what libjpeg does unless told otherwise and what published colour figures are for.

    Args:
        hq: ``H W`` or ``H W 3`` uint8, sides of 1 to 65500.
        quality: 1 to 100, on the scale of libjpeg.
        subsampling: of chroma; without effect on gray.

    Returns:
        Shape and dtype as in ``hq``.

    Raises:
        ShapeError: on another shape or dtype, or if ``quality`` or ``subsampling`` is none of the above.
    """
    check_quality(quality)
    if subsampling not in SUBSAMPLINGS:
        raise ShapeError(f"`subsampling`: got `{subsampling}`; accepted {', '.join(SUBSAMPLINGS)}")
    gray_or_rgb = hq.ndim == 2 or (hq.ndim == 3 and hq.shape[2] == 3)
    if hq.dtype != np.uint8 or not gray_or_rgb or not 1 <= min(hq.shape[:2]) <= max(hq.shape[:2]) <= SIDE:
        found = f"shape {hq.shape}, dtype `{hq.dtype}`"
        raise ShapeError(f"JPEG: got {found}; accepted `H W` or `H W 3` uint8, sides of 1 to {SIDE}")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(hq)).save(file, "jpeg", quality=quality, subsampling=subsampling)
    with Image.open(file, formats=["jpeg"]) as image:
        return np.array(image)
