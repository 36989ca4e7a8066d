"""Luma between the range of a video and the full range that networks were trained on.

Limited luma of ``b`` bits stands at 16 to 235 times ``2**(b - 8)`` (ITU-T H.273); what lies outside is cut, as nothing
in 0..255 stands for it. 8 bits become 8, more become 16: the two widths that the engine takes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]


class Levels:
    """Tables there and back.

    Args:
        bits: of a value, 8 to 16.
        full: whether the video's luma is full-range.
    """

    def __init__(self, bits: int, *, full: bool) -> None:
        peak = (1 << bits) - 1
        low, high = (0, peak) if full else (16 << (bits - 8), 235 << (bits - 8))
        dtype, limit = (np.uint8, 0xFF) if bits == 8 else (np.uint16, 0xFFFF)
        self._same = full and peak == limit
        unit = (np.arange(peak + 1).clip(low, high) - low) / (high - low)
        self._up = np.rint(unit * limit).astype(dtype)
        self._down = np.rint(np.arange(limit + 1) / limit * (high - low) + low).astype(dtype)
        self._up_pairs, self._down_pairs = (_pairs(table) if bits == 8 else None for table in (self._up, self._down))

    def to_full(self, plane: Plane) -> Plane:
        """A plane of the video as the engine takes it."""
        if self._same:
            return plane
        result = np.empty(plane.shape, self._up.dtype)
        _look_up(self._up, self._up_pairs, plane, result)
        return result

    def from_full(self, plane: Plane, out: Plane) -> None:
        """What the engine gave, into a plane of the video."""
        if self._same:
            out[...] = plane
        else:
            _look_up(self._down, self._down_pairs, plane, out)


def _pairs(table: Plane) -> Plane:
    """A table of bytes as one of two bytes at a time, which takes half as long."""
    both = np.empty((256, 256, 2), np.uint8)
    both[..., 0], both[..., 1] = table[None, :], table[:, None]  # the first byte is the low one
    return both.view("<u2").reshape(-1).astype(np.uint16)


def _look_up(table: Plane, pairs: Plane | None, plane: Plane, out: Plane) -> None:
    if pairs is None or plane.shape[1] % 2 or not _is_paired(plane) or not _is_paired(out):
        table.take(plane, mode="clip", out=out)
    else:
        pairs.take(plane.view("<u2"), mode="clip", out=out.view("<u2"))


def _is_paired(plane: Plane) -> bool:
    """Whether pairs of its bytes may be read as one value."""
    return plane.strides[1] == 1 and plane.strides[0] % 2 == 0 and plane.ctypes.data % 2 == 0
