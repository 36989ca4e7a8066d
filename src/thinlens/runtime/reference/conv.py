"""Reference convolutions: one matrix product a row, of a shape that does not depend on how many rows are asked for.

So the bits of a row do not depend on the band it is computed in.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import BinaryConv2d, Conv2d, ConvTranspose2d, Rows, Size
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
    (reach,) = op.in_rows(rows, sizes)
    x = padded(inputs[0], reach, sizes[0][0], op.pad_mode)
    x = padded_columns(x, op.padding[1], op.padding[1], op.pad_mode)
    out = _correlate(x, tensors["weight"], op.stride, op.groups)
    if op.bias:
        out += tensors["bias"][:, None, None]
    return out


def _correlate(x: Value, weight: Value, stride: int = 1, groups: int = 1) -> Value:
    """``C H W``, padded, with ``weight`` (out, in / groups, kh, kw) -> ``C' H' W'``."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    filters = weight.reshape(groups, len(weight) // groups, -1)
    out = np.empty((len(weight), windows.shape[1], windows.shape[2]), np.float32)
    for y in range(out.shape[1]):
        taps = np.ascontiguousarray(windows[:, y].transpose(0, 2, 3, 1))  # C kh kw W
        out[:, y] = (filters @ taps.reshape(groups, -1, out.shape[2])).reshape(len(weight), -1)
    return out


def binary_conv2d(
    op: BinaryConv2d, inputs: tuple[Band, ...], tensors: Mapping[str, Value], rows: Rows, sizes: tuple[Size, ...]
) -> Value:
    """Cross-correlate signs with signs, which is exact, and scale the sums.

    Args:
        op: the record.
        inputs: one band of ``C H W`` float32 rows.
        tensors: ``weight`` (out, in, kh, kw) of -1 and +1, ``threshold`` (in,) and ``scale`` (out,).
        rows: asked for.
        sizes: height and width of the image.

    Returns:
        ``C', stop - start, W'`` float32.
    """
    first, value = inputs[0]
    signs = np.where(value + tensors["threshold"][:, None, None] >= 0, np.float32(1), np.float32(-1))
    (reach,) = op.in_rows(rows, sizes)
    x = padded((first, signs), reach, sizes[0][0], "zero", op.pad_value)
    x = padded_columns(x, op.padding[1], op.padding[1], "zero", op.pad_value)
    return tensors["scale"][:, None, None] * _correlate(x, tensors["weight"])


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
