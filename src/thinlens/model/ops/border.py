"""What lies outside an image: which pixel stands for a position beyond its border.

``edge`` repeats the border pixel; ``mirror`` reflects about it (``c b | a b c | b a``), again and again where the
padding is larger than the image, and repeats the only pixel of a side of 1; ``symmetric`` reflects with the border
pixel repeated (``b a | a b c | c b``); ``zero`` has no pixel there.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Rows = tuple[int, int]  # [start, stop)
PadMode = Literal["zero", "edge", "mirror"]
Border = Literal["zero", "edge", "mirror", "symmetric"]
BORDERS: tuple[Border, ...] = get_args(Border)
NO_ROWS: Rows = (0, 0)


def border_index(positions: npt.NDArray[np.int64], size: int, border: Border) -> npt.NDArray[np.int64]:
    """Find the pixels that stand for positions on one axis, inside the image or outside.

    Args:
        positions: any shape, any values.
        size: pixels on the axis, >= 1.
        border: any but ``zero``.

    Returns:
        The same shape, all in ``[0, size)``.
    """
    if border == "edge":
        return np.clip(positions, 0, size - 1)
    period = 2 * size if border == "symmetric" else max(1, 2 * size - 2)
    within = positions % period
    return np.where(within < size, within, period - within - (border == "symmetric"))


def image_rows(rows: Rows, height: int, border: Border) -> Rows:
    """The rows of an image that rows ``[start, stop)``, some of them outside it, are made of; empty: `NO_ROWS`.

    Args:
        rows: asked for; may be empty.
        height: of the image, >= 1.
        border: how rows outside it are made.
    """
    start, stop = rows
    if start >= stop:
        return NO_ROWS
    if border == "zero":
        inside = max(start, 0), min(stop, height)
        return inside if inside[0] < inside[1] else NO_ROWS
    ends = np.array([start, stop - 1, *_turns(start, stop, height, border)], np.int64)
    found = border_index(ends, height, border)
    return int(found.min()), int(found.max()) + 1


def _turns(start: int, stop: int, height: int, border: Border) -> list[int]:
    """Positions inside ``[start, stop)`` where a reflection turns back: two of them have met both ends."""
    if border == "edge":
        return []
    step = height if border == "symmetric" else max(1, height - 1)
    first = -(-start // step)
    return [turn for turn in (first * step, (first + 1) * step, first * step - 1) if start <= turn < stop]
