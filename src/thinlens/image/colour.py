"""Colour and depth: full-range BT.601, gray as Pillow makes it, studio luma, integers to floats and back.

Networks eat full-range luma (``luma``); metrics use MATLAB's studio-range luma (``studio_luma``). All
conversions are element by element with a fixed order of additions, so rows converted alone equal the same
rows of the whole.

Source: ITU-R BT.601-7, section 2.5; the full-range form is JFIF's (ITU-T T.871, section 7).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError

FloatImage = npt.NDArray[np.floating[Any]]
AnyImage = npt.NDArray[Any]

RED, GREEN, BLUE = 0.299, 0.587, 0.114
CB_SPAN, CR_SPAN = 2 * (1 - BLUE), 2 * (1 - RED)

# Pixels that `bleed` fills around visible ones, if nothing else is said: beyond the kernels of enlarging networks.
REACH = 16

# Rows that one step of `bleed` works on: bounds its memory whatever the height.
BAND_ROWS = 128


def luma(rgb: FloatImage) -> FloatImage:
    """Compute full-range BT.601 luma, 0.299 R + 0.587 G + 0.114 B.

    Args:
        rgb: ``H W 3`` float, any range.

    Returns:
        ``H W``, dtype and range as in ``rgb``.
    """
    red, green, blue = _planes(rgb)
    return red * RED + green * GREEN + blue * BLUE


def to_ycbcr(rgb: FloatImage) -> FloatImage:
    """Convert RGB to full-range YCbCr: Y as ``luma``, Cb = 0.5 + (B - Y) / 1.772, Cr = 0.5 + (R - Y) / 1.402.

    Args:
        rgb: ``H W 3`` float in 0..1.

    Returns:
        ``H W 3``, dtype as in ``rgb``; all three in 0..1, gray has Cb = Cr = 0.5.
    """
    y = luma(rgb)
    return np.stack([y, (rgb[..., 2] - y) / CB_SPAN + 0.5, (rgb[..., 0] - y) / CR_SPAN + 0.5], axis=-1)


def from_ycbcr(ycbcr: FloatImage) -> FloatImage:
    """Convert full-range YCbCr back to RGB: the inverse of ``to_ycbcr``.

    Args:
        ycbcr: ``H W 3`` float in 0..1.

    Returns:
        ``H W 3``, dtype as in ``ycbcr``. Not clamped: luma and chroma that were changed apart may leave 0..1.
    """
    y, cb, cr = _planes(ycbcr)
    red = (cr - 0.5) * CR_SPAN + y
    blue = (cb - 0.5) * CB_SPAN + y
    return np.stack([red, (y - red * RED - blue * BLUE) / GREEN, blue], axis=-1)


def gray_uint8(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Compute the gray that Pillow's mode ``L`` holds: full-range luma in 16-bit fixed point, rounded.

    Args:
        rgb: ``H W 3`` uint8.

    Returns:
        ``H W`` uint8, equal to ``Image.convert("L")`` for each of the 2**24 colours.
    """
    red, green, blue = _planes(rgb.astype(np.uint32))
    gray: npt.NDArray[np.uint8] = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)
    return gray


def studio_luma(rgb: AnyImage) -> npt.NDArray[np.float64]:
    """Compute studio-range luma as MATLAB's ``rgb2ycbcr`` does, unrounded.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255.

    Args:
        rgb: ``H W 3``, uint8 or float in 0..255.

    Returns:
        ``H W`` float64 in 16..235.
    """
    red, green, blue = _planes(rgb.astype(np.float64))
    return (red * 65.481 + green * 128.553 + blue * 24.966) / 255.0 + 16.0


def _planes(image: AnyImage) -> tuple[AnyImage, AnyImage, AnyImage]:
    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"colour conversion: got shape {image.shape}; accepted `H W 3`")
    return image[..., 0], image[..., 1], image[..., 2]


def to_float32(image: AnyImage) -> npt.NDArray[np.float32]:
    """Convert uint8 (0..255) or uint16 (0..65535) to float32 0..1; float32 is returned as it is.

    Raises:
        ShapeError: on another dtype.
    """
    if image.dtype == np.float32:
        return image
    if image.dtype not in (np.uint8, np.uint16):
        raise ShapeError(f"image: got dtype `{image.dtype}`; accepted `uint8`, `uint16` and `float32`")
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def from_float32(image: npt.NDArray[np.float32], dtype: npt.DTypeLike) -> AnyImage:
    """Convert float32 0..1 to uint8, uint16 or float32: clamped, integers rounded to the nearest.

    Raises:
        ShapeError: on another target dtype.
    """
    target = np.dtype(dtype)
    clamped = np.clip(image, np.float32(0), np.float32(1))
    if target == np.float32:
        return clamped
    if target not in (np.uint8, np.uint16):
        raise ShapeError(f"image: got target dtype `{target}`; accepted `uint8`, `uint16` and `float32`")
    clamped *= np.float32(np.iinfo(target).max)
    return np.rint(clamped, out=clamped).astype(target)


def bleed(colour: AnyImage, alpha: AnyImage, *, reach: int = REACH) -> AnyImage:
    """Fill the colour under fully transparent pixels from visible neighbours, so that edges resample clean.

    Ring after ring around what is visible, a pixel takes the mean of its filled neighbours (up to 8). Pixels
    farther than ``reach`` from any visible one keep their colour: no kernel mixes them into something
    visible. Works in bands of rows, so the memory beside the result does not grow with the height.

    Args:
        colour: ``H W`` or ``H W C``, uint8, uint16 or float.
        alpha: ``H W``; 0 is fully transparent.
        reach: how far to fill, in pixels.

    Returns:
        A copy of ``colour`` with hidden pixels filled; visible ones are unchanged.

    Raises:
        ShapeError: if the sizes differ.
    """
    if colour.shape[:2] != alpha.shape:
        raise ShapeError(f"bleed: got colour {colour.shape} and alpha {alpha.shape}; the sizes must be equal")
    result = colour.copy()
    for start in range(0, len(colour), BAND_ROWS):
        first, stop = max(0, start - reach), start + BAND_ROWS
        visible = alpha[first : stop + reach] != 0
        if visible.any() and not visible[start - first : stop - first].all():
            filled = _fill(colour[first : stop + reach], visible, reach)
            result[start:stop] = filled[start - first : stop - first]
    return result


def _fill(colour: AnyImage, known: npt.NDArray[np.bool_], reach: int) -> AnyImage:
    """Fill ``colour`` where ``known`` is False, ring by ring, at most ``reach`` rings."""
    height, width = known.shape
    known = np.pad(known, 1)
    values = np.zeros((height + 2, width + 2, *colour.shape[2:]), np.float32)
    values[1:-1, 1:-1] = colour
    inside = np.zeros_like(known)
    inside[1:-1, 1:-1] = True
    neighbours = [dy * (width + 2) + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    flat_known, flat_values = known.reshape(-1), values.reshape(-1, *colour.shape[2:])
    for _ in range(reach):
        ring = np.flatnonzero(_grown(known) & inside & ~known)
        if not ring.size:
            break
        around = ring[:, None] + neighbours
        count = flat_known[around].astype(np.float32)
        shaped = count.reshape(*count.shape, *(1,) * (colour.ndim - 2))
        flat_values[ring] = (flat_values[around] * shaped).sum(axis=1) / shaped.sum(axis=1)
        flat_known[ring] = True
    filled = values[1:-1, 1:-1]
    return (filled if colour.dtype.kind == "f" else np.rint(filled)).astype(colour.dtype)


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Grow a mask by one pixel in all 8 directions."""
    wide = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall
