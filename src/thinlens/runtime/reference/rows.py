"""Run a plan for some rows of its output: the same bits, however the image is cut into bands."""

from collections.abc import Iterator, Mapping

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
    value, wanted = band[1], plan.outputs[output]
    needed = rows_needed(plan, plan.extents(size), wanted, rows)
    for _, value in _iter_values(plan, tensors, band, size, needed):  # noqa: B007  # the last one is the output
        pass
    first = (band if wanted == INPUT else needed[wanted])[0]
    return value[:, rows[0] - first : rows[1] - first]


def iter_values(plan: Plan, tensors: Mapping[str, Value], image: Value) -> Iterator[tuple[str, Value]]:
    """Compute every value of a plan for a whole image, in order, ``input`` first.

    Args:
        plan: a checked plan.
        tensors: name -> float32 array.
        image: ``C H W`` float32.

    Yields:
        Name and ``C H W`` float32.
    """
    size = image.shape[1], image.shape[2]
    needed = {name: (0, extent.height) for name, extent in plan.extents(size).items()}
    yield INPUT, image
    yield from _iter_values(plan, tensors, (0, image), size, needed)


def _iter_values(
    plan: Plan, tensors: Mapping[str, Value], band: Band, size: Size, needed: Mapping[str, Rows]
) -> Iterator[tuple[str, Value]]:
    """Compute the needed rows of every value of which any are needed; none is kept longer than later ones read it."""
    extents, channels = plan.extents(size), plan.channels()
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
        yield node.name, made
        values[node.name] = needed[node.name][0], made
        for name in set(node.inputs):
            if last_use[name] == node.name:
                del values[name]


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
