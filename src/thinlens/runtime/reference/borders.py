"""Padding: rows and columns outside an image, made as the op that reads them says."""

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import Border, Rows, border_index

Value = npt.NDArray[np.float32]
Band = tuple[int, Value]  # first row, C H W


def padded(band: Band, rows: Rows, height: int, border: Border, fill: float = 0.0) -> Value:
    """Rows ``[start, stop)`` of an image, some of them outside it.

    Args:
        band: those of its rows that `thinlens.model.ops.image_rows` names, or more.
        rows: asked for; may be empty.
        height: of the image.
        border: how rows outside are made.
        fill: their value, if ``border`` is ``zero``.

    Returns:
        ``C, stop - start, W`` float32.
    """
    begin, value = band
    start, stop = rows
    if begin <= start and stop <= min(height, begin + value.shape[1]):
        return value[:, start - begin : max(start, stop) - begin]
    return _taken(value, 1, (np.arange(start, stop), begin, height), border, fill)


def padded_columns(value: Value, left: int, right: int, border: Border, fill: float = 0.0) -> Value:
    """All columns and ``left`` and ``right`` more: ``C H W`` -> ``C, H, left + W + right``; else as `padded`."""
    width = value.shape[2]
    return _taken(value, 2, (np.arange(-left, width + right), 0, width), border, fill) if left or right else value


def _taken(
    value: Value, axis: int, where: tuple[npt.NDArray[np.int64], int, int], border: Border, fill: float
) -> Value:
    """Positions on one axis of which ``value`` holds those from ``begin`` on."""
    positions, begin, size = where
    if border != "zero":
        return value.take(border_index(positions, size, border) - begin, axis)
    inside = (positions >= 0) & (positions < size)
    shape = list(value.shape)
    shape[axis] = len(positions)
    out = np.full(shape, fill, np.float32)
    taken = value.take(positions[inside] - begin, axis)
    if axis == 1:
        out[:, inside] = taken
    else:
        out[:, :, inside] = taken
    return out
