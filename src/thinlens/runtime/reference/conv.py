"""Reference convolution: one matrix product an output row."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import Conv2d

Value = npt.NDArray[np.float32]
NUMPY_PAD = {"zero": "constant", "edge": "edge"}


def conv2d(op: Conv2d, inputs: tuple[Value, ...], tensors: Mapping[str, Value]) -> Value:
    """Cross-correlate ``C H W`` rows, already padded above and below, with ``op``'s weight.

    Each output row is one product of fixed shape, (channels out) x (taps) times (taps) x (width): so its bits do not
    depend on how many rows are asked for at once.

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
