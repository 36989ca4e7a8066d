"""Reference of the memory between bands: band after band, from the first one on."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.ops import GATES, Align, Conv2d, LineMemory, Rows, Size
from thinlens.runtime.reference.borders import Band
from thinlens.runtime.reference.conv import conv2d
from thinlens.runtime.reference.pixelwise import logistic

Value = npt.NDArray[np.float32]


def line_memory(
    op: LineMemory, inputs: tuple[Band, ...], tensors: Mapping[str, Value], rows: Rows, sizes: tuple[Size, ...]
) -> Value:
    """What each band gives from its own input and from what the band before gave.

    Args:
        op: the record.
        inputs: all rows of the gates down to the end of a band; the image at the end is not looked at.
        tensors: the convolutions of the hidden state.
        rows: asked for.
        sizes: of a band of each input.

    Returns:
        ``C, stop - start, W`` float32.
    """
    gates = [value for _, value in inputs[:-1]]
    height = sizes[0][0]
    state = np.zeros((2, op.channels, height, gates[0].shape[2]), np.float32)  # what it gave, and the cell
    made = []
    for first in range(0, gates[0].shape[1], height):
        state = _step(op, [gate[:, first : first + height] for gate in gates], _aligned(state, op.align), tensors)
        made.append(state[0])
    return np.concatenate(made, axis=1)[:, rows[0] : rows[1]]


def _step(op: LineMemory, seen: list[Value], state: Value, tensors: Mapping[str, Value]) -> Value:
    """Hidden state and cell after one band."""
    hidden, cell = state
    if op.cell == "sum":
        return np.stack((seen[0] + hidden, cell))
    sides = op.kernel[0] // 2, op.kernel[1] // 2
    conv = Conv2d(in_channels=op.channels, out_channels=op.channels, kernel=op.kernel, padding=sides)
    rows, size = (0, hidden.shape[1]), (hidden.shape[1], hidden.shape[2])
    sums = [
        gate + conv2d(conv, ((0, hidden),), {"weight": tensors[role]}, rows, (size,))
        for gate, role in zip(seen, GATES, strict=True)
    ]
    let_in, forget, let_out = (logistic(value) for value in sums[:3])
    cell = forget * cell + let_in * np.tanh(sums[3])
    return np.stack((let_out * np.tanh(cell), cell))


def _aligned(state: Value, align: Align) -> Value:
    """Which row of the band before stands for which."""
    if align == "flip":
        return state[:, :, ::-1]
    return np.broadcast_to(state[:, :, -1:], state.shape) if align == "last" else state
