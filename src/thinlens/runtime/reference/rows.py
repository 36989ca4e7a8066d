"""Run a plan for some rows of its output: the same bits, however the image is cut into bands."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thinlens.model.graph import iter_pieces, rows_needed
from thinlens.model.ops import NO_ROWS, Rows, Size
from thinlens.model.plan import INPUT, Extent, Node, Plan
from thinlens.runtime.reference import BODIES
from thinlens.runtime.reference.borders import Band

Value = npt.NDArray[np.float32]


def input_rows(plan: Plan, size: Size, rows: Rows, output: str = "image") -> Rows:
    """Rows of the input that rows ``[start, stop)`` of an output depend on, inside an image of ``size``."""
    return rows_needed(plan, plan.extents(size), plan.outputs[output], rows)[INPUT]


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
    extents, channels = plan.extents(size), plan.channels()
    needed = rows_needed(plan, extents, plan.outputs[output], rows)
    values: dict[str, Band] = {INPUT: band}
    last_use = {name: node.name for node in plan.nodes if node.name in needed for name in node.inputs}
    for node in plan.nodes:
        if node.name not in needed:
            continue
        for name in node.inputs:  # one that is read for its size alone has no rows
            values.setdefault(name, (0, np.empty((channels[name], 0, extents[name].width), np.float32)))
        made = _run_node(
            node, {role: tensors[t] for role, t in node.tensors.items()}, values, extents, needed[node.name]
        )
        values[node.name] = needed[node.name][0], made
        for name in set(node.inputs):
            if last_use[name] == node.name and name != plan.outputs[output]:
                del values[name]
    first, value = values[plan.outputs[output]]
    return value[:, rows[0] - first : rows[1] - first]


def _run_node(
    node: Node,
    tensors: Mapping[str, Value],
    values: Mapping[str, Band],
    extents: Mapping[str, Extent],
    rows: Rows,
) -> Value:
    """Rows of one op's output, band by band if it is in bands."""
    made = []
    for piece in iter_pieces(node.op, rows, tuple(extents[name] for name in node.inputs), extents[node.name]):
        inputs = []
        for name, reads, begin in zip(node.inputs, piece.reads, piece.begins, strict=True):
            first, value = values[name]
            skip = begin + reads[0] - first if reads != NO_ROWS else 0
            inputs.append((reads[0], value[:, skip : skip + reads[1] - reads[0]]))
        made.append(BODIES[type(node.op)](node.op, tuple(inputs), tensors, piece.rows, piece.sizes))
    return made[0] if len(made) == 1 else np.concatenate(made, axis=1)
