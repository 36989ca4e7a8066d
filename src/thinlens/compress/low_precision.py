"""Convolutions of a plan, rewritten to bytes or to bfloat16, as the engine and ONNX runtimes compute them.

    conv2d     ->  quantize -> conv2d of whole numbers -> affine      int8; the affine holds steps and bias
    conv2d     ->  bfloat16 -> conv2d of bfloat16 weights             bf16; the bias stays

What follows a convolution reads the same value name as before. Convolutions that read one value share its rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace as with_fields

from thinlens.model.file import Model
from thinlens.model.ops import Affine, Bfloat16, Conv2d, Op, Quantize
from thinlens.model.plan import Node, Plan
from thinlens.runtime.binary import Precision
from thinlens.runtime.low import MAX_WEIGHT, has_low_kernel
from thinlens.runtime.reference import pixelwise

CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)  # parts of a range that are tried: less is cut, but finer
LARGEST_HALF = 65504.0

Array = npt.NDArray[np.float32]


def eligible(plan: Plan, precision: Precision) -> list[Node]:
    """The convolutions that can be rewritten, in order: those with a kernel that are not in low precision yet."""
    rounded = {node.name for node in plan.nodes if isinstance(node.op, Quantize | Bfloat16)}
    return [node for node in plan.nodes if has_low_kernel(node.op, precision) and node.inputs[0] not in rounded]


def rewritten(model: Model, convs: Sequence[str], roundings: Mapping[str, Op]) -> Model:
    """The model with convolutions of its main plan in low precision.

    Args:
        model: checked; it stays as it is, and so do its other plans.
        convs: names of `eligible` convolutions.
        roundings: name of each value that they read -> its `quantize` or `bfloat16`.

    Returns:
        The same card; the plan and tensors changed.
    """
    nodes: list[Node] = []
    tensors = dict(model.tensors)
    made: set[str] = set()
    for node in model.plan.nodes:
        if node.name not in convs:
            nodes.append(node)
            continue
        value = node.inputs[0]
        if value not in made:
            made.add(value)
            nodes.append(Node(name=f"{value}:rounded", op=roundings[value], inputs=(value,)))
        nodes += _rewritten_conv(node, roundings[value], tensors)
    plans = {**model.plans, "main": with_fields(model.plan, nodes=tuple(nodes))}
    used = set().union(*(plan.tensor_names() for plan in plans.values()))
    return replace(model, plans=plans, tensors={name: array for name, array in tensors.items() if name in used})


def _rewritten_conv(node: Node, rounding: Op, tensors: dict[str, Array]) -> list[Node]:
    """A convolution behind its rounding; the last of the nodes bears its name. Adds its tensors."""
    op, inputs, weight = node.op, (f"{node.inputs[0]}:rounded",), node.tensors["weight"]
    assert isinstance(op, Conv2d)  # noqa: S101  # what `eligible` looked at
    if not isinstance(rounding, Quantize):
        tensors[f"{weight}:bfloat16"] = bfloat16_weights(tensors[weight])
        return [with_fields(node, inputs=inputs, tensors={**node.tensors, "weight": f"{weight}:bfloat16"})]
    tensors[f"{weight}:levels"], steps = weight_levels(tensors[weight])
    own = {"weight": f"{node.name}:step"} | ({"bias": node.tensors["bias"]} if op.bias else {})
    tensors[own["weight"]] = np.float32(rounding.scale) * steps
    sums = with_fields(op, bias=False)
    return [
        Node(name=f"{node.name}:sum", op=sums, inputs=inputs, tensors={"weight": f"{weight}:levels"}),
        Node(
            name=node.name, op=Affine(channels=op.out_channels, bias=op.bias), inputs=(f"{node.name}:sum",), tensors=own
        ),
    ]


def weight_levels(weight: Array) -> tuple[Array, Array]:
    """Weights as whole numbers with a step for each output channel, the step of least squared error of a few.

    Args:
        weight: (out, in, kh, kw).

    Returns:
        Whole numbers of -127 to 127 in the same shape, and steps (out,), above 0: about ``levels * step``.
    """
    rows = weight.reshape(len(weight), -1)
    largest = np.abs(rows).max(axis=1)
    largest[largest < np.finfo(np.float32).tiny * MAX_WEIGHT * 2] = 1  # a silent channel: any step will do
    levels, steps, best = np.zeros_like(rows), largest / np.float32(MAX_WEIGHT), np.full(len(rows), np.inf)
    for clip in CLIPS:
        step = np.float32(clip) * largest / np.float32(MAX_WEIGHT)
        tried = np.clip(np.rint(rows / step[:, None]), -MAX_WEIGHT, MAX_WEIGHT)
        error = np.square(tried * step[:, None] - rows, dtype=np.float64).sum(axis=1)
        better = error < best
        levels[better], steps[better], best[better] = tried[better], step[better], error[better]
    return levels.reshape(weight.shape), steps


def bfloat16_weights(weight: Array) -> Array:
    """Weights rounded to bfloat16, and below 2^-14 to what float16 holds too, so that a file stores two bytes each.

    Args:
        weight: any shape; what is beyond float16's largest number is rounded to bfloat16 alone.
    """
    rounded = pixelwise.bfloat16(Bfloat16(), (weight,), {})
    small = np.abs(rounded) <= LARGEST_HALF
    return np.where(small, np.where(small, rounded, 0).astype(np.float16).astype(np.float32), rounded)
