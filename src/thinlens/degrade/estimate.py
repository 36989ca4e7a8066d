"""What a damaged image tells about its damage: how strong the noise is, how the JPEG was quantised."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thinlens.image.colour import to_float32

AnyImage = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

SIDE = 16  # of a block, whose noise is estimated alone
SMOOTH = 0.2  # share of the blocks, by their estimates, below which the image's is read: edges and texture lie above
FEWEST = 20  # blocks; with fewer the whole image is one
PIXELS = 4_000_000  # that are looked at, in strips spread evenly
NORMAL = 1.4826  # standard deviation of a normal variable whose median absolute value is 1
LOW_BLOCK = 0.9156  # what the 0.2 quantile of blocks of pure noise gives for a standard deviation of 1, as measured

# The luma table of quality 50. Source: ITU-T T.81, table K.1.
LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def estimate_sigma(image: AnyImage) -> float:
    """Estimate the standard deviation of white noise.

    The second difference along both axes is blind to flat areas, slopes and straight edges along them. Its median
    modulus gives the noise of each block of each channel; that of the image is read from its smooth blocks. Blocks
    whose mean lies near black or white are left out, because noise is cut off there in a file of 8 bits.

    On 12 photographs (`val`) the error, mean and largest, is 1.2 and 4.6 for a clean image, 0.5 and 2.3 at sigma 5, 0.3
    and 1.0 at 25, 0.0 and 0.9 at 50. Of noise that was clipped to 8 bits it misses more: -0.3 and -1.4 at 25, -2.0 and
    -3.6 at 50, -8.0 and -10.1 at 75. Fine texture passes for noise; noise that was smoothed is underestimated.

    Args:
        image: ``H W``, ``H W 2`` (gray, alpha), ``H W 3`` or ``H W 4``; uint8, uint16, or float32 around 0..1.

    Returns:
        In 8-bit units; 0 for images with a side of less than 3 pixels.

    Source of the difference: Immerkaer, Fast Noise Variance Estimation, Computer Vision and Image Understanding, 1996.
    """
    return estimate_sigma_of_bands([image], image.shape[0], image.shape[1])


def estimate_sigma_of_bands(bands: Iterable[AnyImage], height: int, width: int) -> float:
    """The same for an image that comes in bands of rows, in order; it holds some of their rows, never all.

    Args:
        bands: each as an image for `estimate_sigma`; not read further than needed.
        height: of the image.
        width: of the image.
    """
    if min(height, width) < 3:
        return 0.0
    strips, blocks, count = list[Floats](), [], 0
    for strip in _strips(bands, height, width):
        if count < FEWEST:
            strips.append(strip)
        if min(strip.shape) >= SIDE + 2:
            blocks.append(_blocks(strip))
            count += len(blocks[-1][0])
    if count < FEWEST:
        return 255 * NORMAL * float(np.median(np.concatenate([np.abs(_difference(s)).ravel() for s in strips])))
    levels, means = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    room = np.minimum(means, 1 - means)  # to the nearer end of the range
    if (room > 1 / 255).any():
        levels, room = levels[room > 1 / 255], room[room > 1 / 255]
    found = _read(levels)
    for _ in range(3):
        found = _read(levels[room >= min(2 * found, np.quantile(room, 1 - SMOOTH))])
    return 255 * found


def _strips(bands: Iterable[AnyImage], height: int, width: int) -> Iterator[Floats]:
    """Strips of a block's height, one channel each, spread evenly over an image that is too large to be read whole."""
    tops = iter(range(0, max(1, height - SIDE - 1), SIDE * max(1, -(-height * width // PIXELS))))
    top, first, window = next(tops), 0, None  # rows from `first` on that no strip has passed yet
    for band in bands:
        planes = np.atleast_3d(band)[..., : 1 if band.ndim == 2 or band.shape[2] == 2 else 3]
        window = planes if window is None or not len(window) else np.concatenate([window, planes])
        while first + len(window) >= min(top + SIDE + 2, height):
            for channel in range(window.shape[2]):
                yield to_float32(window[top - first : top - first + SIDE + 2, :, channel])
            if (next_top := next(tops, None)) is None:
                return
            top = next_top
        passed = min(top - first, len(window))
        window, first = window[passed:], first + passed


def _difference(plane: Floats) -> Floats:
    """The mask (1, -2, 1) along both axes, scaled so that white noise keeps its standard deviation."""
    rows = plane[:-2] - 2 * plane[1:-1] + plane[2:]
    columns: Floats = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return columns / np.float32(6)


def _blocks(strip: Floats) -> tuple[Floats, Floats]:
    """Standard deviation and mean of each block of a strip, in 0..1."""
    width = (strip.shape[1] - 2) // SIDE * SIDE
    shape = SIDE, width // SIDE, SIDE
    sizes = np.abs(_difference(strip)[:, :width]).reshape(shape).swapaxes(0, 1).reshape(-1, SIDE * SIDE)
    levels = np.float32(NORMAL) * np.median(sizes, axis=1)
    return levels.astype(np.float32), strip[1:-1, 1 : 1 + width].reshape(shape).mean((0, 2), dtype=np.float32)


def _read(levels: Floats) -> float:
    """The image's noise from that of its blocks."""
    return float(np.quantile(levels, SMOOTH)) / LOW_BLOCK


class JpegQuality(NamedTuple):
    """What a quantisation table says.

    Args:
        quality: 1 to 100, as libjpeg counts it.
        standard: whether libjpeg makes exactly this table of that quality; else it is only the nearest.
    """

    quality: int
    standard: bool


def estimate_quality(table: Sequence[int]) -> JpegQuality:
    """Tell a JPEG's quality from its luma table.

    Args:
        table: 64 steps, row by row.

    Returns:
        The quality whose table differs least, by the mean ratio of their steps; the higher one if two are as near.
    """
    steps = np.maximum(np.asarray(table, np.float64), 1)
    distance = {quality: float(np.abs(np.log(steps / standard_table(quality))).mean()) for quality in range(100, 0, -1)}
    nearest = min(distance, key=lambda quality: distance[quality])
    return JpegQuality(nearest, distance[nearest] == 0)


def standard_table(quality: int) -> npt.NDArray[np.int64]:
    """The luma table that libjpeg makes of a quality, 1 to 100: 64 steps, row by row."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    table: npt.NDArray[np.int64] = np.clip((np.array(LUMA_TABLE).ravel() * percent + 50) // 100, 1, 255)
    return table
