"""Convolutions of a plan, rewritten to bytes or to bfloat16, as the engine and ONNX runtimes compute them.

    conv2d     ->  quantize -> conv2d of whole numbers -> affine      int8; the affine holds steps and bias
    conv2d     ->  bfloat16 -> conv2d of bfloat16 weights             bf16

What follows a convolution reads the same value name as before. Convolutions that read one value share its rounding.

Weights are not rounded one by one: small networks have large weights that cancel, and lose whole decibels by that. What
counts is the error of the convolution's sums, (w - v) C (w - v) for weights w that become v and a covariance C of the
patches it reads. Weights are rounded in turn, and those still to come make up for the error so far.

Source: Frantar et al., "GPTQ" (2023), whose order and use of the inverse's Cholesky factor this is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

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
RIDGE = 1e-6  # of the patches' mean variance: what keeps the covariance of few or flat patches invertible

Array = npt.NDArray[np.float32]
Rounding = Quantize | Bfloat16
Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Patches:
    """What a convolution reads, a patch being the (in, kh, kw) numbers behind one output, in that order.

    Args:
        mean: (n,) of the patches.
        covariance: (n, n) of the patches.
        noise: mean squared error by which rounding changes each number.
    """

    mean: Double
    covariance: Double
    noise: float


@dataclass(frozen=True)
class LowWeights:
    """A convolution's numbers in low precision.

    Args:
        weight: (out, in, kh, kw), whole numbers of -127 to 127, or bfloat16.
        steps: (out,), what one of the sums is worth; None for bfloat16.
        bias: (out,).
    """

    weight: Array
    steps: Array | None
    bias: Array


def eligible(plan: Plan, precision: Precision) -> list[Node]:
    """The convolutions that can be rewritten, in order: those with a kernel that are not in low precision yet.

    Those of one channel stay on floats: it would fill a quarter of an element of four bytes, which is slower.
    """
    rounded = {node.name for node in plan.nodes if isinstance(node.op, Quantize | Bfloat16)}
    channels = plan.channels()
    return [
        node
        for node in plan.nodes
        if has_low_kernel(node.op, precision) and node.inputs[0] not in rounded and channels[node.inputs[0]] > 1
    ]


def rewritten(model: Model, convs: Mapping[str, LowWeights], roundings: Mapping[str, Rounding]) -> Model:
    """The model with convolutions of its main plan in low precision.

    Args:
        model: checked; it stays as it is, and so do its other plans.
        convs: name of each `eligible` convolution to rewrite -> its numbers.
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
        nodes += _low_conv(node, convs[node.name], roundings[value], tensors)
    plans = {**model.plans, "main": with_fields(model.plan, nodes=tuple(nodes))}
    used = {name for plan in plans.values() for name in plan.tensor_names()}
    return replace(model, plans=plans, tensors={name: array for name, array in tensors.items() if name in used})


def _low_conv(node: Node, low: LowWeights, rounding: Rounding, tensors: dict[str, Array]) -> list[Node]:
    """The nodes of a convolution behind its rounding, of which the last one bears its name. Adds their tensors."""
    name, op, inputs = node.name, node.op, (f"{node.inputs[0]}:rounded",)
    weight, bias, step = f"{name}:weight", f"{name}:bias", f"{name}:step"
    tensors.update({weight: low.weight, bias: low.bias})
    if low.steps is None or not isinstance(rounding, Quantize):
        own = {"weight": weight, "bias": bias}
        return [Node(name=name, op=_with_bias(op, bias=True), inputs=inputs, tensors=own)]
    tensors[step] = np.float32(rounding.scale) * low.steps
    affine, sums = Affine(channels=len(low.bias)), f"{name}:sum"
    return [
        Node(name=sums, op=_with_bias(op, bias=False), inputs=inputs, tensors={"weight": weight}),
        Node(name=name, op=affine, inputs=(sums,), tensors={"weight": step, "bias": bias}),
    ]


def _with_bias(op: Op, *, bias: bool) -> Conv2d:
    fields = {field: getattr(op, field) for field in op.__struct_fields__}
    return Conv2d(**{**fields, "bias": bias})


def low_weights(node: Node, tensors: Mapping[str, Array], precision: Precision, patches: Patches) -> LowWeights:
    """Round a convolution's weights so that its sums change least.

    Args:
        node: the convolution.
        tensors: of its plan.
        precision: `INT8` or `BFLOAT16`.
        patches: what it reads.
    """
    weight = tensors[node.tensors["weight"]]
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    ridge = patches.noise + RIDGE * patches.covariance.trace() / len(patches.mean) + np.finfo(np.float32).tiny
    metric: Double = patches.covariance + ridge * np.eye(len(patches.mean))
    inverse = np.asarray(np.linalg.inv(metric), np.float64)
    ideal = rows - ridge * rows @ inverse  # w C / (C + noise): larger weights would pass on more of the rounding
    factor = np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T, np.float64)
    if precision is Precision.INT8:
        stored, steps = _best_levels(ideal, metric, factor)
        values = stored * steps[:, None]
    else:
        stored, steps = compensated(ideal, factor, bfloat16_weights), None
        values = stored.astype(np.float64)
    bias = tensors[node.tensors["bias"]] if "bias" in node.tensors else np.zeros(len(weight), np.float32)
    bias = (bias + (rows - values) @ patches.mean).astype(np.float32)
    return LowWeights(stored.astype(np.float32).reshape(weight.shape), steps, bias)


def _best_levels(rows: Double, metric: Double, factor: Double) -> tuple[Double, Array]:
    """Whole numbers of -127 to 127, and a step for each row: of a few the one with the least error."""
    largest = np.abs(rows).max(axis=1)
    largest[largest < np.finfo(np.float32).tiny * 1e6] = 1  # a silent channel: any step will do
    levels, steps, best = np.zeros_like(rows), np.ones(len(rows), np.float32), np.full(len(rows), np.inf)
    for clip in CLIPS:
        step = (clip * largest / MAX_WEIGHT).astype(np.float32)
        tried = compensated(rows / step[:, None], factor, lambda x: np.clip(np.rint(x), -MAX_WEIGHT, MAX_WEIGHT))
        error = tried * step[:, None] - rows
        errors = (error @ metric * error).sum(axis=1)
        better = errors < best
        levels[better], steps[better], best[better] = tried[better], step[better], errors[better]
    return levels, steps


def compensated(rows: Double, factor: Double, rounded: Callable[[Double], npt.NDArray[np.floating]]) -> Double:
    """Round the columns one after the other; those still to come make up for the error so far.

    Args:
        rows: (out, n), one filter a row.
        factor: (n, n), upper triangular, R of R' R = the inverse of the metric.
        rounded: a column -> what it becomes.

    Returns:
        (out, n), every number as ``rounded`` gives it.
    """
    left, made = rows.copy(), np.empty_like(rows)
    for i in range(rows.shape[1]):
        made[:, i] = rounded(left[:, i])
        error = (left[:, i] - made[:, i]) / factor[i, i]
        left[:, i + 1 :] -= error[:, None] * factor[i, i + 1 :]
    return made


def bfloat16_weights(weight: npt.NDArray[np.floating]) -> Array:
    """Weights rounded to bfloat16, and below 2^-14 to what float16 holds too, so that a file stores two bytes each.

    Args:
        weight: any shape; what is beyond float16's largest number is rounded to bfloat16 alone.
    """
    rounded = pixelwise.bfloat16(Bfloat16(), (weight.astype(np.float32),), {})
    small = np.abs(rounded) <= LARGEST_HALF
    return np.where(small, np.where(small, rounded, 0).astype(np.float16).astype(np.float32), rounded)
