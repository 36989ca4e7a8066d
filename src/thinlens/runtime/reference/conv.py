"""Reference convolutions: one matrix product a row, of a shape that does not depend on how many rows are asked for.

So the bits of a row do not depend on the band it is computed in.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import Conv2d, ConvTranspose2d, Rows, Size
from thinlens.runtime.reference.borders import Band, padded, padded_columns

Value = npt.NDArray[np.float32]


def conv2d(
    op: Conv2d, inputs: tuple[Band, ...], tensors: Mapping[str, Value], rows: Rows, sizes: tuple[Size, ...]
) -> Value:
    """Cross-correlate with ``op``'s weight.

    Each output row is one product, (channels out) x (taps) times (taps) x (width).

    Args:
        op: the record.
        inputs: one band of ``C H W`` float32 rows.
        tensors: ``weight`` (out, in / groups, kh, kw) and, if ``op.bias``, ``bias`` (out,).
        rows: asked for.
        sizes: height and width of the image.

    Returns:
        ``C', stop - start, W'`` float32.
    """
    kh, kw = op.kernel
    (reach,) = op.in_rows(rows, sizes)
    x = padded(inputs[0], reach, sizes[0][0], op.pad_mode)
    x = padded_columns(x, op.padding[1], op.padding[1], op.pad_mode)
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))[:, :: op.stride, :: op.stride]
    weight = tensors["weight"].reshape(op.groups, op.out_channels // op.groups, -1)
    out = np.empty((op.out_channels, windows.shape[1], windows.shape[2]), np.float32)
    for y in range(out.shape[1]):
        taps = np.ascontiguousarray(windows[:, y].transpose(0, 2, 3, 1))  # C kh kw W
        out[:, y] = (weight @ taps.reshape(op.groups, -1, out.shape[2])).reshape(op.out_channels, -1)
    if op.bias:
        out += tensors["bias"][:, None, None]
    return out


def conv_transpose2d(
    op: ConvTranspose2d, inputs: tuple[Band, ...], tensors: Mapping[str, Value], rows: Rows, sizes: tuple[Size, ...]
) -> Value:
    """Add each input pixel's weighted kernel to the output.

    Args:
        op: the record.
        inputs: one band of ``C H W`` float32 rows.
        tensors: ``weight`` (in, out, kh, kw) and, if ``op.bias``, ``bias`` (out,).
        rows: asked for.
        sizes: height and width of the image.

    Returns:
        ``C', stop - start, W'`` float32.
    """
    (kh, kw), s = op.kernel, op.stride
    (reach,) = op.in_rows(rows, sizes)
    side = -(-(kw - 1) // s)  # input columns outside the image that still reach into it
    x = padded(inputs[0], reach, sizes[0][0], op.pad_mode)
    x = padded_columns(x, side, side, op.pad_mode)
    height, width = x.shape[1:]
    weight = tensors["weight"].reshape(op.in_channels, -1).T
    begin = reach[0] * s - op.padding[0] - rows[0] + kh - 1  # of the first kernel, counted from kh - 1 rows above
    count = rows[1] - rows[0]
    out = np.zeros((op.out_channels, count + 2 * (kh - 1), (width - 1) * s + max(kw, s)), np.float32)
    for y in range(height):
        stamps = (weight @ np.ascontiguousarray(x[:, y])).reshape(op.out_channels, kh, kw, width)
        top = begin + y * s
        for column in range(kw):
            out[:, top : top + kh, column : column + (width - 1) * s + 1 : s] += stamps[:, :, column]
    first = side * s + op.padding[1]
    out = out[:, kh - 1 : kh - 1 + count, first : first + op.out_size(sizes)[1]]
    return out + tensors["bias"][:, None, None] if op.bias else out
