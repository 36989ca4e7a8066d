"""Convolutions that the engine runs in low precision: a chain of nodes each, computed in one go.

    quantize -> conv2d of whole numbers [-> affine] [-> activation] [-> quantize]
    bfloat16 -> conv2d of bfloat16 weights          [-> activation] [-> bfloat16]

Values between `quantize` (or `bfloat16`) and its convolutions are bytes (halves). That needs every reader to be such a
convolution; where one is not, all run on floats, with the same result up to rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thinlens.model.graph import readers_of
from thinlens.model.ops import Affine, Bfloat16, Conv2d, Op, Quantize
from thinlens.model.plan import Node
from thinlens.runtime.binary import Array, Precision

MAX_LEVEL, MAX_WEIGHT = 255, 127  # of a byte, and of a weight that meets it
MAX_SUM = 2**31 - 1  # of what integer sums hold
Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class LowConv:
    """One convolution in low precision and what is computed at its end.

    Args:
        conv: the convolution.
        precision: of its input.
        affine: what turns integer sums into values, if there is one.
        activation: behind that.
        rounding: the `quantize` or `bfloat16` at the end, whose result is stored.
    """

    conv: Node
    precision: Precision
    affine: Node | None = None
    activation: Node | None = None
    rounding: Node | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The chain, in order."""
        return tuple(node for node in (self.conv, self.affine, self.activation, self.rounding) if node is not None)


def precision_of(node: Node | None) -> Precision:
    """What a node rounds to."""
    op = None if node is None else node.op
    if isinstance(op, Quantize):
        return Precision.INT8
    return Precision.BFLOAT16 if isinstance(op, Bfloat16) else Precision.FLOATS


@dataclass(frozen=True)
class LowNodes:
    """What of a plan runs in low precision.

    Args:
        convs: name of the convolution -> its chain.
        stored: names of the `quantize` and `bfloat16` nodes whose results are bytes or halves.
    """

    convs: dict[str, LowConv]
    stored: frozenset[str]


def find_low(nodes: Sequence[Node], image: str, tensors: Tensors, activations: tuple[type, ...]) -> LowNodes:
    """The convolutions in low precision.

    Args:
        nodes: live ones.
        image: the value that is the network's result.
        tensors: of the plan.
        activations: the records that count as activations.
    """
    made_by = {node.name: node for node in nodes}
    readers = readers_of(nodes)

    def fits(node: Node) -> bool:
        return _fits(node, made_by.get(node.inputs[0]), tensors)

    stored = {
        node.name
        for node in nodes
        if precision_of(node) and node.name != image and all(fits(reader) for reader in readers.get(node.name, []))
    }

    def after(node: Node, accepted: tuple[type, ...]) -> Node | None:
        """The only reader of a node, if it is of an accepted kind."""
        following = [] if node.name == image else readers.get(node.name, [])
        return following[0] if len(following) == 1 and isinstance(following[0].op, accepted) else None

    convs = {}
    for node in nodes:
        if node.inputs[0] not in stored:
            continue
        precision = precision_of(made_by[node.inputs[0]])
        affine = after(node, (Affine,)) if precision is Precision.INT8 else None
        activation = after(affine or node, activations)
        rounding = after(activation or affine or node, (Quantize, Bfloat16))
        if rounding is not None and rounding.name not in stored:
            rounding = None
        convs[node.name] = LowConv(node, precision, affine, activation, rounding)
    return LowNodes(convs, frozenset(stored))


def _fits(node: Node, source: Node | None, tensors: Tensors) -> bool:
    """Whether a node is a convolution that the engine runs in the precision of its source."""
    op, precision = node.op, precision_of(source)
    if not has_low_kernel(op, precision):
        return False
    weight = tensors[node.tensors["weight"]]
    if precision is Precision.BFLOAT16:
        return not np.any(np.ascontiguousarray(weight).view(np.uint32) & np.uint32(0xFFFF))
    whole = np.abs(weight).max() <= MAX_WEIGHT and np.array_equal(weight, np.rint(weight))
    return whole and "bias" not in node.tensors


def has_low_kernel(op: Op, precision: Precision) -> bool:
    """Whether the engine could run an op in low precision, if its weights were made for that.

    Args:
        op: the record.
        precision: `INT8`, whose sums must fit an integer, or `BFLOAT16`.
    """
    if not isinstance(op, Conv2d) or op.stride != 1 or op.groups != 1:
        return False
    summands = op.in_channels * op.kernel[0] * op.kernel[1]
    return precision is Precision.BFLOAT16 or summands * MAX_LEVEL * MAX_WEIGHT <= MAX_SUM
