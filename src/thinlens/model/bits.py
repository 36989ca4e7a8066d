"""Signs as bits: how files hold binary weights. Bit 0 stands for +1, 1 for -1; the first sign in the highest bit."""

import math

import numpy as np
import numpy.typing as npt

from thinlens.errors import ModelError

Signs = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint8]


def are_signs(array: npt.NDArray[np.float32]) -> bool:
    """Whether an array holds nothing but -1 and +1."""
    return bool((np.abs(array) == 1).all())


def pack(signs: Signs) -> Bits:
    """An array of -1 and +1 as bytes, in its own order; unused bits of the last byte are 0."""
    return np.packbits(signs.ravel() < 0)


def unpack(bits: Bits, shape: tuple[int, ...]) -> Signs:
    """The inverse of `pack`.

    Raises:
        ModelError: if the bytes are too few or too many for the shape, or an unused bit is set.
    """
    count = math.prod(shape)
    if bits.ndim != 1 or bits.size != -(-count // 8):
        raise ModelError(f"{count} signs take {-(-count // 8)} bytes in a row; found: {bits.shape}")
    values = np.unpackbits(bits)
    if values[count:].any():
        raise ModelError("unused bits of the last byte are not 0")
    return np.where(values[:count], np.float32(-1), np.float32(1)).reshape(shape)
