"""What a plan costs: parameters, multiply-accumulates and activations, for a 1280x720 output."""

from dataclasses import dataclass
from math import prod

from thinlens.model.ops import BinaryConv2d, Conv2d, Size
from thinlens.model.plan import Plan

OUTPUT = (720, 1280)


@dataclass(frozen=True)
class Counts:
    """Costs of a network in its inference form.

    Args:
        params: numbers in its tensors; a tensor that several ops share counts once.
        macs_720p: multiply-accumulates for an output of 1280x720.
        activations: output elements of all convolutions, for the same output.
        convolutions: how many there are.
        binary_operations: binary multiply-accumulates for the same output, not among ``macs_720p``.
    """

    params: int
    macs_720p: int
    activations: int
    convolutions: int
    binary_operations: int


def count_costs(plan: Plan, scale: int) -> Counts:
    """Count what a plan costs.

    Costs are taken on the largest input whose output fits, and scaled to 1280 * 720 / scale^2 input pixels, as the
    tables of the field do: 1280 need not be a multiple of the scale.

    Args:
        plan: a checked plan.
        scale: of the network.
    """
    probe = (OUTPUT[0] // scale, OUTPUT[1] // scale)
    channels, sizes = plan.channels(), plan.sizes(probe)
    convolutions = [node for node in plan.nodes if isinstance(node.op, Conv2d | BinaryConv2d)]
    activations = sum(channels[n.name] * prod(sizes[n.name]) for n in convolutions)
    return Counts(
        params=sum(prod(shape) for shape in _shapes(plan).values()),
        macs_720p=_at_720p(plan.macs(probe), probe, scale),
        activations=_at_720p(activations, probe, scale),
        convolutions=len(convolutions),
        binary_operations=_at_720p(plan.binary_macs(probe), probe, scale),
    )


def count_convolutions(plan: Plan, size: Size) -> tuple[float, float]:
    """Operations and parameters as papers on binary networks count them, for an input of ``size``.

    Of convolutions alone, without biases: a multiply-accumulate is one operation, one of two signs the 64th part of it;
    a binary weight the 32nd part of a parameter. What it leaves out, a binary network spends most of its other
    arithmetic on.

    Source: Xia et al., Basic Binary Convolution Unit for Binarized Image Restoration Network, ICLR 2023, section 4.1.
    """
    channels, sizes = plan.channels(), plan.sizes(size)
    operations = parameters = 0.0
    for node in plan.nodes:
        inputs = tuple(channels[name] for name in node.inputs)
        if isinstance(node.op, Conv2d | BinaryConv2d):
            weights = prod(node.op.tensor_shapes()["weight"])
            operations += node.op.macs(inputs, sizes[node.name]) + node.op.binary_macs(inputs, sizes[node.name]) / 64
            parameters += weights / 32 if isinstance(node.op, BinaryConv2d) else weights
    return operations, parameters


def _shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    return {node.tensors[role]: shape for node in plan.nodes for role, shape in node.op.tensor_shapes().items()}


def _at_720p(count: int, probe: Size, scale: int) -> int:
    """Scale a count from the probe to a 1280x720 output."""
    return round(count * prod(OUTPUT) / (scale**2 * prod(probe)))
