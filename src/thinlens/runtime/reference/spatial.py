"""Reference of the ops that move or mix pixels without weights, and of bands.

All take the record, bands of ``C H W`` float32 rows (those of each input that lie behind the asked rows), the op's
tensors, the rows asked for and the sizes of the inputs' images; they return ``C, stop - start, W'`` float32.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import (
    Bands,
    Crop,
    GlobalMean,
    GlobalStd,
    MaxPool,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Resize,
    Rows,
    Size,
    Unbands,
    border_index,
)
from thinlens.runtime.reference.borders import Band, padded, padded_columns

Value = npt.NDArray[np.float32]
Tensors = Mapping[str, Value]
Inputs = tuple[Band, ...]
Sizes = tuple[Size, ...]


def pixel_shuffle(op: PixelShuffle, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """``C s^2, H, W`` -> ``C, s H, s W``; channel ``g s^2 + i s + j`` holds pixels ``(s y + i, s x + j)`` of ``g``."""
    s, (first, value) = op.scale, inputs[0]
    _, height, width = value.shape
    phases = value.reshape(-1, s, s, height, width)
    whole = phases.transpose(0, 3, 1, 4, 2).reshape(-1, s * height, s * width)
    return whole[:, rows[0] - s * first : rows[1] - s * first]


def pixel_unshuffle(op: PixelUnshuffle, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """``C, s H, s W`` -> ``C s^2, H, W``; the inverse."""
    s, (_, value) = op.scale, inputs[0]
    channels, height, width = value.shape
    phases = value.reshape(channels, height // s, s, width // s, s)
    return phases.transpose(0, 2, 4, 1, 3).reshape(channels * s * s, height // s, width // s)


def max_pool(op: MaxPool, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """Largest pixel under each window; padding is minus infinity."""
    (reach,), (_, pw) = op.in_rows(rows, sizes), op.padding
    x = padded(inputs[0], reach, sizes[0][0], "zero", -np.inf)
    x = padded_columns(x, pw, pw, "zero", -np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, op.kernel, axis=(1, 2))[:, :: op.stride, :: op.stride]
    return np.asarray(windows.max(axis=(3, 4)))


def resize(op: Resize, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """The height first, then the width; taps are added in order."""
    (first, value), (height, width), out = inputs[0], sizes[0], op.out_size(sizes)
    index, weights = op.taps(rows, height, out[0])
    index = border_index(index, height, op.border) - first
    tall = value[:, index[:, 0]] * weights[:, :1]
    for tap in range(1, index.shape[1]):
        tall += value[:, index[:, tap]] * weights[:, tap : tap + 1]
    index, weights = op.taps((0, out[1]), width, out[1])
    index = border_index(index, width, op.border)
    wide = tall[:, :, index[:, 0]] * weights[:, 0]
    for tap in range(1, index.shape[1]):
        wide += tall[:, :, index[:, tap]] * weights[:, tap]
    return wide


def pad(op: Pad, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """The image, and around it what the mode says."""
    (reach,) = op.in_rows(rows, sizes)
    return padded_columns(padded(inputs[0], reach, sizes[0][0], op.mode), op.left, op.right, op.mode)


def crop(op: Crop, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """What is left of the columns; rows outside are not among those read."""
    return inputs[0][1][:, :, op.left : sizes[0][1] - op.right]


def global_mean(op: GlobalMean, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """``C H W`` -> ``C 1 1``, accumulated in float64."""
    mean: Value = inputs[0][1].mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    return mean


def global_std(op: GlobalStd, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """Root of the mean squared distance from the mean: ``C H W`` -> ``C 1 1``, accumulated in float64."""
    x = inputs[0][1].astype(np.float64)
    distance = x - x.mean(axis=(1, 2), keepdims=True)
    deviation: Value = np.sqrt((distance**2).mean(axis=(1, 2), keepdims=True)).astype(np.float32)
    return deviation


def bands(op: Bands, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """Row ``Y`` is row ``mirror(Y - warm_up rows)`` of the image."""
    (reach,) = op.in_rows(rows, sizes)
    return padded(inputs[0], reach, sizes[0][0], "mirror")


def unbands(op: Unbands, inputs: Inputs, tensors: Tensors, rows: Rows, sizes: Sizes) -> Value:
    """The rows as they are: those of the warm-up and below the image are not among those read."""
    return inputs[0][1]
