"""Bicubic resampling as MATLAB's ``imresize`` does it: whole images, or any run of output rows.

For an output position ``x`` and the size ratio ``r = out / in`` the centre lies at input position
``u = (x + 0.5) / r - 0.5``. The weight of input pixel ``i`` is ``cubic(u - i)``; when shrinking, the kernel
is widened to ``cubic(r * (u - i))`` so that it also removes what the smaller image cannot hold. Weights are
normalised to sum 1, borders are mirrored with the edge pixel repeated (``b a | a b c | c b``). Rows are
resampled first, then columns.

The additions of one output value always happen in the same order and one at a time (no matrix product), so a
run of rows equals the same rows of the whole result bit for bit.

Source: R. Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -0.5.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import ShapeError

FloatImage = npt.NDArray[np.floating[Any]]

# Values that one block of the column pass holds: small enough for the second-level cache.
BLOCK_VALUES = 1 << 15


def cubic(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Evaluate the Keys cubic with a = -0.5.

    Args:
        distance: any shape, in input pixels.

    Returns:
        The weights, same shape: 1 at 0, 0 at +-1 and from +-2 on.
    """
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d <= 1.0, near, np.where(d < 2.0, far, 0.0))


@dataclass(frozen=True)
class Taps:
    """What each output position of one axis adds up.

    Attributes:
        index: ``(out, taps)`` int64, input positions with the mirrored border resolved, all in ``[0, in)``.
        weight: ``(out, taps)`` float64, each row sums to 1.
    """

    index: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]


def create_taps(in_size: int, out_size: int, origin: float = 0.5) -> Taps:
    """Compute what takes one axis from ``in_size`` to ``out_size`` pixels, both >= 1.

    ``origin`` is where in its pixel a sample lies, 0.5 being the centre: ``u = (x + origin) / r - origin``.
    """
    ratio = out_size / in_size
    shrink = min(ratio, 1.0)
    reach = 4.0 / shrink
    centre = (np.arange(out_size) + origin) / ratio - origin
    left = np.floor(centre - reach / 2).astype(np.int64)
    index = left[:, None] + np.arange(int(np.ceil(reach)) + 2)
    weight = cubic(shrink * (centre[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    used = np.flatnonzero((weight != 0).any(axis=0))
    keep = slice(used[0], used[-1] + 1)
    index = index[:, keep] % (2 * in_size)
    return Taps(np.where(index < in_size, index, 2 * in_size - 1 - index), weight[:, keep])


class Resampler:
    """Antialiased bicubic from one fixed size to another, whole or by rows.

    Args:
        in_height: input rows, >= 1.
        in_width: input columns, >= 1.
        out_height: output rows, >= 1.
        out_width: output columns, >= 1.
        origins: where samples lie down and across, see `create_taps`.

    Raises:
        ShapeError: if a size is below 1.
    """

    def __init__(
        self,
        in_height: int,
        in_width: int,
        out_height: int,
        out_width: int,
        *,
        origins: tuple[float, float] = (0.5, 0.5),
    ) -> None:
        sizes = (in_height, in_width, out_height, out_width)
        if min(sizes) < 1:
            raise ShapeError(f"resize: got {in_height}x{in_width} to {out_height}x{out_width}; each must be at least 1")
        self.in_height, self.in_width, self.out_height, self.out_width = sizes
        self._rows = create_taps(in_height, out_height, origins[0])
        self._columns = create_taps(in_width, out_width, origins[1])

    def input_rows(self, start: int, stop: int) -> tuple[int, int]:
        """Return the input rows ``[first, last)`` that output rows ``[start, stop)`` read.

        Raises:
            ShapeError: if ``[start, stop)`` is empty or leaves the output.
        """
        self._check_range(start, stop)
        index = self._rows.index[start:stop][self._rows.weight[start:stop] != 0]
        return int(index.min()), int(index.max()) + 1

    def rows(self, band: FloatImage, first: int, start: int, stop: int) -> FloatImage:
        """Compute output rows ``[start, stop)``.

        Args:
            band: input rows from ``first`` on, at least those that ``input_rows`` names; ``H W`` or
                ``H W C``, float32 or float64, any range.
            first: the input row that ``band[0]`` is.
            start: first output row.
            stop: one past the last output row.

        Returns:
            ``stop - start`` rows of the output's width, channels and dtype as in ``band``. Not clamped: the
            kernel overshoots at edges.

        Raises:
            ShapeError: if the band has another width or dtype, or lacks rows.
        """
        needed = self.input_rows(start, stop)
        self._check_band(band, first, needed)
        columns = self._columns.index.T
        weights = _per_column(self._columns.weight.astype(band.dtype), band.ndim)
        result = np.empty((stop - start, self.out_width, *band.shape[2:]), band.dtype)
        size = max(1, BLOCK_VALUES // result[0].size)
        for at in range(0, len(result), size):
            part = result[at : at + size]
            mixed = self._mix_rows(band, first, start + at, len(part))
            _mix_columns(mixed, columns, weights, part)
        return result

    def _mix_rows(self, band: FloatImage, first: int, start: int, count: int) -> FloatImage:
        """Resample along the height only: ``count`` rows from output row ``start`` on."""
        mixed = np.empty((count, *band.shape[1:]), band.dtype)
        product = np.empty_like(band[0])
        weight = self._rows.weight[start : start + count].astype(band.dtype)
        for row, indices, weights in zip(mixed, self._rows.index[start : start + count], weight, strict=True):
            row.fill(0)
            for index, value in zip(indices, weights, strict=True):
                if value != 0:
                    row += np.multiply(band[index - first], value, out=product)
        return mixed

    def _check_range(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.out_height:
            raise ShapeError(f"resize: got output rows [{start}, {stop}); accepted [0, {self.out_height})")

    def _check_band(self, band: FloatImage, first: int, needed: tuple[int, int]) -> None:
        if band.dtype not in (np.float32, np.float64):
            raise ShapeError(f"resize: got dtype `{band.dtype}`; accepted `float32` and `float64`")
        if band.ndim not in (2, 3) or band.shape[1] != self.in_width:
            raise ShapeError(f"resize: got shape {band.shape}; accepted `H {self.in_width}` or `H {self.in_width} C`")
        if first > needed[0] or first + len(band) < needed[1]:
            raise ShapeError(
                f"resize: got input rows [{first}, {first + len(band)}); needed [{needed[0]}, {needed[1]})"
            )


def _per_column(weight: FloatImage, ndim: int) -> FloatImage:
    """Turn ``(out, taps)`` weights into ``(taps, out)`` or ``(taps, out, 1)``, to multiply rows with."""
    turned = np.ascontiguousarray(weight.T)
    return turned[:, :, None] if ndim == 3 else turned


def _mix_columns(rows: FloatImage, columns: npt.NDArray[np.int64], weights: FloatImage, result: FloatImage) -> None:
    """Resample along the width, into ``result``."""
    np.multiply(rows.take(columns[0], axis=1), weights[0], out=result)
    for index, weight in zip(columns[1:], weights[1:], strict=True):
        moved = rows.take(index, axis=1)
        moved *= weight
        result += moved


def resize(image: FloatImage, height: int, width: int) -> FloatImage:
    """Resample a whole image to ``height`` x ``width``.

    Args:
        image: ``H W`` or ``H W C``, float32 or float64, any range.
        height: output rows, >= 1.
        width: output columns, >= 1.

    Returns:
        The resampled image, dtype as in, not clamped.

    Raises:
        ShapeError: on an empty image, another dtype, or a size below 1.
    """
    if image.ndim not in (2, 3):
        raise ShapeError(f"resize: got shape {image.shape}; accepted `H W` or `H W C`")
    return Resampler(image.shape[0], image.shape[1], height, width).rows(image, 0, 0, height)


def resize_uint8(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resample an 8-bit image as ``imresize`` does: in float64, rounded half up, clamped to 0..255.

    Args:
        image: ``H W`` or ``H W C`` uint8.
        height: output rows, >= 1.
        width: output columns, >= 1.

    Returns:
        ``height`` rows of ``width`` pixels, uint8.

    Raises:
        ShapeError: on an empty image, another dtype, or a size below 1.
    """
    if image.dtype != np.uint8:
        raise ShapeError(f"resize: got dtype `{image.dtype}`; accepted `uint8`")
    resized = resize(image.astype(np.float64), height, width)
    rounded: npt.NDArray[np.uint8] = np.clip(np.floor(resized + 0.5), 0, 255).astype(np.uint8)
    return rounded
