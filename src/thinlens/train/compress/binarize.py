"""Binarise any plan: its 3x3 convolutions become binary units, a bit a weight, and learn on.

A unit adds what it reads to what it makes, because signs alone lose what a convolution passes on. So a convolution is
eligible only where that fits: 3x3, stride 1, as many channels out as in. The first and the last one see and make pixels
and stay.

    conv2d  ->  binary_conv2d -> affine -> prelu -> affine -> add          version 4 of BBCU's unit

What followed the convolution follows the unit. Nothing of what the network computed survives the step by itself: it is
the beginning of a training, which has to be as long as one from scratch to give what the method can.

Source: Xia et al., Basic Binary Convolution Unit for Binarized Image Restoration Network, ICLR 2023, section 3.
"""

import torch

from thinlens.errors import CompressionError
from thinlens.model import ops
from thinlens.model.file import Tensors
from thinlens.model.plan import Node, Plan
from thinlens.train.blocks.binary_conv import V4, BinaryUnit
from thinlens.train.thaw import PlanModule, body_of, replace_body, thaw


def eligible(plan: Plan) -> list[Node]:
    """The convolutions that can become binary units, in order."""
    rounded = {node.name for node in plan.nodes if isinstance(node.op, ops.Quantize | ops.Bfloat16)}
    convs = [node for node in plan.nodes if isinstance(node.op, ops.Conv2d | ops.ConvTranspose2d | ops.BinaryConv2d)]
    return [node for node in convs[1:-1] if _fits(node.op) and node.inputs[0] not in rounded]


def _fits(op: ops.Op) -> bool:
    return (
        isinstance(op, ops.Conv2d)
        and (op.kernel, op.stride, op.groups, op.padding) == ((3, 3), 1, 1, (1, 1))
        and op.in_channels == op.out_channels
    )


def binarize(plan: Plan, tensors: Tensors, name: str = "the plan") -> PlanModule:
    """Thaw a plan with binary units in place of all eligible convolutions, ready to be trained and lowered.

    Latent weights and biases begin as those of the convolutions.

    Args:
        plan: a checked plan.
        tensors: its tensors.
        name: for the message.

    Raises:
        CompressionError: if no convolution is eligible.
    """
    nodes = eligible(plan)
    if not nodes:
        raise CompressionError(
            f"`{name}`: no 3x3 convolution between the first and the last one makes as many channels as it reads, on "
            "floats, at stride 1 with padding 1; around any other the shortcut of a binary unit does not fit"
        )
    module = thaw(plan, tensors)
    for node in nodes:
        body = body_of(module, node.name)
        if not isinstance(body, BinaryUnit):  # not yet, by an earlier call of the same convolution
            replace_body(module, node.name, _unit(node.op, body))
    return module


def _unit(op: ops.Op, body: torch.nn.Module) -> BinaryUnit:
    assert isinstance(op, ops.Conv2d)  # noqa: S101  # so says `eligible`
    record = ops.BinaryConv2d(in_channels=op.in_channels, out_channels=op.out_channels, kernel=(3, 3), padding=(1, 1))
    unit = BinaryUnit(record, V4, bias=op.bias)
    with torch.no_grad():
        unit.weight.copy_(body.get_parameter("weight"))
        if unit.bias is not None:
            unit.bias.copy_(body.get_parameter("bias"))
    return unit
