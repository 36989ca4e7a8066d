"""White Gaussian noise: the low-quality half of a denoising pair.

Published figures are for noise that is neither clipped nor rounded, so the noisy image is a float one whose values
leave 0..1. A file of a noisy image would be clipped and rounded: ``rounded=True``.

Source: the protocol of DnCNN and its successors: a legacy NumPy generator, seeded anew for each image, values drawn in
the order of rows, columns, channels.
"""

from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError
from thinlens.image.colour import from_float32, to_float32

Float32Image = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]
Seed = int | np.random.Generator

MAX_SIGMA = 255.0


def check_sigma(sigma: float | tuple[float, float]) -> None:
    """Raise ShapeError unless ``sigma`` is a number in 0..255, or a range of such."""
    low, high = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    if not 0 <= low <= high <= MAX_SIGMA:
        raise ShapeError(f"`sigma`: got {sigma}; accepted 0 to 255, in 8-bit units, or a range (low, high) of them")


@overload
def gaussian_noise(
    hq: ByteImage | Float32Image,
    sigma: float | tuple[float, float],
    *,
    seed: Seed,
    rounded: Literal[False] = False,
) -> Float32Image: ...
@overload
def gaussian_noise(
    hq: ByteImage | Float32Image, sigma: float | tuple[float, float], *, seed: Seed, rounded: Literal[True]
) -> ByteImage: ...
def gaussian_noise(
    hq: ByteImage | Float32Image,
    sigma: float | tuple[float, float],
    *,
    seed: Seed,
    rounded: bool = False,
) -> npt.NDArray[Any]:
    """Add white Gaussian noise, independent for each pixel and channel.

    Args:
        hq: ``H W`` or ``H W C``, uint8, or float32 in 0..1.
        sigma: standard deviation in 8-bit units, 0..255. A pair (low, high) draws it uniformly from that range first,
            for a blind denoiser: one value an image.
        seed: a whole number in 0..2**32 - 1 always gives the same noise, that of published figures; a generator is
            drawn from.
        rounded: clip and round as an 8-bit file would.

    Returns:
        Float32, nominally 0..1 but neither clipped nor rounded; uint8 if ``rounded``.

    Raises:
        ShapeError: if ``sigma`` or ``seed`` is out of range, or on another dtype.
    """
    check_sigma(sigma)
    source = seed if isinstance(seed, np.random.Generator) else _legacy(seed)
    level = source.uniform(*sigma) if isinstance(sigma, tuple) else sigma
    clean = to_float32(hq)
    lq = (clean + source.standard_normal(clean.shape) * (level / 255.0)).astype(np.float32)
    return from_float32(lq, np.uint8) if rounded else lq


def _legacy(seed: int) -> np.random.RandomState:
    """The generator whose stream NumPy has promised never to change."""
    if not 0 <= seed < 1 << 32:
        raise ShapeError(f"`seed`: got {seed}; accepted 0 to {(1 << 32) - 1}")
    return np.random.RandomState(seed)
