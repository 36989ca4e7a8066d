"""Reference convolutions: one matrix product a row, of a shape that does not depend on how many rows are asked for.

So the bits of a row do not depend on the band it is computed in.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import Conv2d, ConvTranspose2d

Value = npt.NDArray[np.float32]
NUMPY_PAD = {"zero": "constant", "edge": "edge"}


def conv2d(op: Conv2d, inputs: tuple[Value, ...], tensors: Mapping[str, Value]) -> Value:
    """Cross-correlate ``C H W`` rows, already padded above and below, with ``op``'s weight.

    Each output row is one product, (channels out) x (taps) times (taps) x (width).

    Args:
        op: the record.
        inputs: one ``C H W`` float32 array with rows padded.
        tensors: ``weight`` (out, in / groups, kh, kw) and, if ``op.bias``, ``bias`` (out,).

    Returns:
        ``C H' W'`` float32.
    """
    kh, kw = op.kernel
    side = op.padding[1]
    x = np.pad(inputs[0], ((0, 0), (0, 0), (side, side)), NUMPY_PAD[op.pad_mode])  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))[:, :: op.stride, :: op.stride]
    weight = tensors["weight"].reshape(op.groups, op.out_channels // op.groups, -1)
    out = np.empty((op.out_channels, windows.shape[1], windows.shape[2]), np.float32)
    for y in range(out.shape[1]):
        taps = windows[:, y].transpose(0, 2, 3, 1).reshape(op.groups, -1, out.shape[2])  # G, C kh kw / G, W
        out[:, y] = (weight @ taps).reshape(op.out_channels, -1)
    if op.bias:
        out += tensors["bias"][:, None, None]
    return out


def conv_transpose2d(op: ConvTranspose2d, inputs: tuple[Value, ...], tensors: Mapping[str, Value]) -> Value:
    """Add each input pixel's weighted kernel to the output.

    Args:
        op: the record.
        inputs: one ``C H W`` float32 array with rows padded.
        tensors: ``weight`` (in, out, kh, kw) and, if ``op.bias``, ``bias`` (out,).

    Returns:
        ``C' H' W'`` float32, from the row on where the first input row's kernel begins.
    """
    (kh, kw), s = op.kernel, op.stride
    side = -(-(kw - 1) // s)  # input columns outside the image that still reach into it
    x = np.pad(inputs[0], ((0, 0), (0, 0), (side, side)), NUMPY_PAD[op.pad_mode])  # type: ignore[call-overload]
    height, width = x.shape[1:]
    weight = tensors["weight"].reshape(op.in_channels, -1).T
    out = np.zeros((op.out_channels, (height - 1) * s + kh, (width - 1) * s + kw), np.float32)
    for y in range(height):
        stamps = (weight @ x[:, y]).reshape(op.out_channels, kh, kw, width)
        for column in range(kw):
            out[:, y * s : y * s + kh, column : column + (width - 1) * s + 1 : s] += stamps[:, :, column]
    first = side * s + op.padding[1]
    out = out[:, :, first : first + op.out_size((height, width - 2 * side))[1]]
    return out + tensors["bias"][:, None, None] if op.bias else out
