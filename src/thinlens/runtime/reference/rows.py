"""Run a plan for some rows of its output: the same bits, however the image is cut into bands."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.graph import Rows, rows_needed
from thinlens.model.ops import Op, Size
from thinlens.model.plan import INPUT, Node, Plan
from thinlens.runtime.reference import BODIES
from thinlens.runtime.reference.conv import NUMPY_PAD

Value = npt.NDArray[np.float32]
Band = tuple[int, Value]  # first row, C H W


def input_rows(plan: Plan, size: Size, rows: Rows, output: str = "image") -> Rows:
    """Rows of the input that rows ``[start, stop)`` of an output depend on, inside an image of ``size``."""
    return rows_needed(plan, plan.sizes(size), plan.outputs[output], rows)[INPUT]


def run_rows(
    plan: Plan, tensors: Mapping[str, Value], band: Band, size: Size, rows: Rows, output: str = "image"
) -> Value:
    """Compute rows ``[start, stop)`` of one output.

    Args:
        plan: a checked plan.
        tensors: name -> float32 array.
        band: first row and ``C H W`` float32 rows of the input; at least those that `input_rows` names.
        size: height and width of the whole input image.
        rows: the rows asked for.
        output: the output's name.

    Returns:
        ``C, stop - start, W`` float32.
    """
    sizes = plan.sizes(size)
    needed = rows_needed(plan, sizes, plan.outputs[output], rows)
    values: dict[str, Band] = {INPUT: band}
    last_use = {name: node.name for node in plan.nodes if node.name in needed for name in node.inputs}
    for node in plan.nodes:
        if node.name not in needed:
            continue
        values[node.name] = needed[node.name][0], _run_node(node, tensors, values, sizes, needed[node.name])
        for name in set(node.inputs):
            if last_use[name] == node.name and name not in plan.outputs.values():
                del values[name]
    first, value = values[plan.outputs[output]]
    return value[:, rows[0] - first : rows[1] - first]


def _run_node(
    node: Node,
    tensors: Mapping[str, Value],
    values: Mapping[str, Band],
    sizes: Mapping[str, Size],
    rows: Rows,
) -> Value:
    first, last = node.op.in_rows(*rows)
    inputs = tuple(padded(node.op, values[name], sizes[name][0], first, last) for name in node.inputs)
    out = BODIES[type(node.op)](node.op, inputs, {role: tensors[name] for role, name in node.tensors.items()})
    skip = rows[0] - node.op.first_row(first)
    return out[:, skip : skip + rows[1] - rows[0]]


def padded(op: Op, band: Band, height: int, first: int, last: int) -> Value:
    """Rows ``[first, last)`` of a value; those outside its image are padding of the op's own mode."""
    begin, value = band
    above, below = max(0, -first), max(0, last - height)
    inside = value[:, max(first, 0) - begin : min(last, height) - begin]
    if above == below == 0:
        return inside
    return np.pad(inside, ((0, 0), (above, below), (0, 0)), NUMPY_PAD[op.row_padding()])  # type: ignore[call-overload, no-any-return]
